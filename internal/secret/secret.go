// Package secret keeps tokens, keys and codes out of logs, errors and JSON.
//
// A String prints as [redacted] through fmt, slog and encoding/json; only Reveal gives the value, and only the
// line that needs it calls Reveal. Configuration names secrets by reference (env:, file:, secretsmanager:, ssm:), see
// Resolve.
package secret

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"lifeboat/internal/failure"
)

const redacted = "[redacted]"

// String is a secret value. The zero value is empty.
//
// The value hides behind a pointer: fmt calls no method of a String that is an unexported field of a struct, and would
// print its bytes. Compare with Equal, not with ==.
type String struct{ value *string }

// New returns value as a secret.
func New(value string) String { return String{&value} }

// Reveal returns the value.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s String) Empty() bool { return s.Reveal() == "" }

// Equal reports whether both have the same value, in a time that says nothing of where they differ.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements fmt.Stringer.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (s String) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb prints the value.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// maxFile bounds what a file: reference reads, in bytes.
const maxFile = 64 << 10

// Reference is a secret as the configuration spells it: env:NAME, file:PATH, secretsmanager:ID, ssm:NAME, or a bare
// value.
type Reference string

// Bare reports whether the reference is the value itself, which deserves a warning.
func (r Reference) Bare() bool {
	scheme, _, found := strings.Cut(string(r), ":")
	return r != "" && (!found || !known(scheme))
}

func known(scheme string) bool {
	switch scheme {
	case "env", "file", "secretsmanager", "ssm":
		return true
	}
	return false
}

// String returns the reference, unless it is the value itself.
func (r Reference) String() string {
	if r.Bare() {
		return redacted
	}
	return string(r)
}

// GoString implements fmt.GoStringer, for %#v.
func (r Reference) GoString() string { return r.String() }

// Format implements fmt.Formatter: a verb that does not fit a string would print the value.
func (r Reference) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// LogValue implements slog.LogValuer.
func (r Reference) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON: what is written cannot be read back where it was bare.
func (r Reference) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Resolve returns the value that the reference names. A file: value loses one trailing newline; what lies in AWS is
// asked for through the Resolver that was installed. The error never holds the value; where the reference itself is
// wrong it is of kind Usage.
func (r Reference) Resolve() (String, error) {
	scheme, rest, found := strings.Cut(string(r), ":")
	if !found || !known(scheme) {
		return New(string(r)), nil
	}
	switch scheme {
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok || value == "" {
			return String{}, failure.New(failure.Usage, "the environment variable %s is not set", rest).
				WithHint("export %s=… before you run lifeboat", rest)
		}
		return New(value), nil
	case "file":
		info, err := os.Stat(rest)
		if err == nil && info.Size() > maxFile {
			return String{}, failure.New(failure.Usage, "the secret file %s is larger than %d bytes", rest, maxFile)
		}
		data, err := os.ReadFile(rest)
		if errors.Is(err, fs.ErrPermission) {
			return String{}, failure.New(failure.Denied, "the secret file %s may not be read", rest).
				WithHint("give the user that runs lifeboat the right to read it")
		}
		if err != nil {
			return String{}, failure.New(failure.Usage, "read the secret file: %w", err)
		}
		return New(string(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")))), nil
	}
	return fromAWS(string(r), scheme, rest)
}
