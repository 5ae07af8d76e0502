package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// Authenticator makes and checks message authentication codes (HMAC-SHA-256) with a key that never leaves the service
// that keeps it, such as KMS.
type Authenticator interface {
	// Key names the key.
	Key() string
	// Make returns the code of a message of at most 4,096 bytes: the same whenever it is asked.
	Make(ctx context.Context, message []byte) ([]byte, error)
	// Verify reports whether the code is that of the message.
	Verify(ctx context.Context, message, code []byte) (bool, error)
}

// MAC is snapshots/<source>/<backup>/mac.json: a second proof of who sealed a manifest, beside the signature. It lies
// beside the manifest and is no part of the archive, whose bytes do not depend on where it was made.
type MAC struct {
	Format    int    `json:"lifeboat_mac"`
	Key       string `json:"key"` // that made it
	Algorithm string `json:"algorithm"`
	Code      string `json:"mac"` // base64
}

const (
	macFormat    = 1
	macAlgorithm = "HMAC_SHA_256"
	macMost      = 4 << 10 // bytes of a mac.json
)

// Sealed says which manifest of which backup it is.
type Sealed struct {
	Source  backup.Source
	Backup  backup.ID
	SHA256  string // of the uncompressed manifest, hex
	Entries int
}

// message is what the code is of.
func (s Sealed) message() []byte {
	return fmt.Appendf(nil, "lifeboat mac 1\n%s\n%s\n%s\n%d\n", s.Source, s.Backup, s.SHA256, s.Entries)
}

// Authenticate returns the bytes of mac.json. The same manifest and key always give the same bytes.
func Authenticate(ctx context.Context, a Authenticator, s Sealed) ([]byte, error) {
	code, err := a.Make(ctx, s.message())
	if err != nil {
		return nil, err
	}
	return marshalMAC(MAC{macFormat, a.Key(), macAlgorithm, base64.StdEncoding.EncodeToString(code)})
}

func marshalMAC(m MAC) ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// CheckMAC holds the bytes of a mac.json against the manifest that was read. One that was made with another key is
// Invalid: nobody can check it here. One that does not verify is Corrupt.
func CheckMAC(ctx context.Context, a Authenticator, data []byte, s Sealed) error {
	m, err := parseMAC(data)
	if err != nil {
		return err
	}
	if m.Key != a.Key() {
		return failure.New(failure.Invalid, "the MAC of the manifest was made with another key than this stack's").
			WithHint("it names %s; only the stack that has this key checks it", m.Key)
	}
	code, ok := decode64(m.Code)
	if ok = ok && len(code) == sha256.Size; ok { // of another length KMS would refuse to say anything
		if ok, err = a.Verify(ctx, s.message(), code); err != nil {
			return err
		}
	}
	if !ok {
		return failure.New(failure.Corrupt, "the MAC of the manifest does not verify: somebody has replaced the manifest or its MAC")
	}
	return nil
}

func parseMAC(data []byte) (MAC, error) {
	var m MAC
	if len(data) > macMost {
		return m, failure.New(failure.Corrupt, "mac.json has more than %d bytes", macMost)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, failure.New(failure.Corrupt, "mac.json: %w", err)
	}
	if m.Format > macFormat {
		return m, failure.New(failure.Invalid, "mac.json has format %d, this lifeboat reads up to %d", m.Format, macFormat).WithHint("use a newer lifeboat")
	}
	if again, err := marshalMAC(m); err != nil || !bytes.Equal(again, data) || m.Algorithm != macAlgorithm {
		return m, failure.New(failure.Corrupt, "mac.json is not as lifeboat writes it")
	}
	return m, nil
}
