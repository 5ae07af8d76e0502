package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

const value = "hunter2-hunter2"

// holder has secrets where fmt may and where it may not call their methods.
type holder struct {
	Open   secret.String
	closed secret.String
	Ref    secret.Reference
	deep   struct{ list []secret.String }
}

func holders() holder {
	h := holder{Open: secret.New(value), closed: secret.New(value), Ref: value}
	h.deep.list = []secret.String{secret.New(value)}
	return h
}

func TestNeverPrints(t *testing.T) {
	h := holders()
	for _, v := range []any{h, &h, []holder{h}, map[string]holder{"a": h}, h.Open, &h.Open, h.Ref, &h.Ref, []secret.String{h.Open}, []secret.Reference{h.Ref}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%10.3s", "%!"} {
			check(t, fmt.Sprintf("%T as %s", v, verb), fmt.Sprintf(verb, v))
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		check(t, fmt.Sprintf("%T as JSON", v), string(data))
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("message", "value", v, slog.Group("group", "value", v))
		}
		check(t, fmt.Sprintf("%T in a log", v), out.String())
		check(t, fmt.Sprintf("%T in an error", v), failure.New(failure.Usage, "%v %s", v, v).WithHint("%v", v).Error())
	}
}

func check(t *testing.T, how, text string) {
	t.Helper()
	hexed := fmt.Sprintf("%x", value)
	if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hexed) || strings.Contains(text, value[:3]) {
		t.Errorf("%s: %s", how, text)
	}
}

func TestString(t *testing.T) {
	s, none := secret.New(value), secret.String{}
	if s.Reveal() != value || s.Empty() || !none.Empty() || none.Reveal() != "" || !secret.New("").Empty() {
		t.Error("the value is lost")
	}
	if !s.Equal(secret.New(value)) || s.Equal(none) || s.Equal(secret.New(value+"x")) || !none.Equal(secret.New("")) {
		t.Error("Equal")
	}
}

func TestReference(t *testing.T) {
	for text, bare := range map[secret.Reference]bool{
		"": false, "env:A": false, "file:/a": false, "ssm:/a": false, value: true, "smtp://user:" + value + "@host": true, "environment:A": true,
	} {
		if text.Bare() != bare {
			t.Errorf("%q is bare: %v", string(text), text.Bare())
		}
		if shown := text.String(); bare && shown == string(text) || !bare && shown != string(text) {
			t.Errorf("%q is shown as %q", string(text), shown)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Setenv("LIFEBOAT_TEST_SECRET", value)
	t.Setenv("LIFEBOAT_TEST_EMPTY", "")
	dir := t.TempDir()
	write := func(name, text string) secret.Reference {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return secret.Reference("file:" + path)
	}
	for ref, want := range map[secret.Reference]string{
		value: value, "env:LIFEBOAT_TEST_SECRET": value, write("plain", value): value, write("line", value+"\n"): value, write("dos", value+"\r\n"): value,
		write("two", value+"\n\n"): value + "\n", write("spaces", " a "): " a ",
	} {
		if got, err := ref.Resolve(); got.Reveal() != want || err != nil {
			t.Errorf("%v: %q, %v", ref, got.Reveal(), err)
		}
	}
	for _, ref := range []secret.Reference{
		"env:LIFEBOAT_TEST_NONE", "env:LIFEBOAT_TEST_EMPTY", "env:", secret.Reference("file:" + dir + "/none"), secret.Reference("file:" + dir), "ssm:/a",
		write("long", strings.Repeat(value, 5000)),
	} {
		got, err := ref.Resolve()
		if failure.KindOf(err) != failure.Usage || !got.Empty() {
			t.Errorf("%v: %v", ref, err)
		}
		check(t, string(ref[:4]), fmt.Sprint(err, failure.HintOf(err)))
	}
}
