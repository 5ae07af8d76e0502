package manifest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"lifeboat/internal/failure"
)

// Seal is lifeboat/backup.json: the signature of a manifest, and its header for people. The same manifest and key
// always give the same bytes.
type Seal struct {
	Format   int             `json:"lifeboat_backup"`
	Manifest Signed          `json:"manifest"`
	Signer   Signature       `json:"signer"`
	Backup   json.RawMessage `json:"backup"` // line 1 of the manifest
}

// Signed says which manifest it is. The signature covers its SHA-256, and with it the count of its entries; how it is
// compressed is not signed, and only tells damage.
type Signed struct {
	Path     string   `json:"path"`
	SHA256   string   `json:"sha256"` // of the uncompressed manifest, hex
	Entries  int      `json:"entries"`
	Deflated Deflated `json:"deflated"` // the deflate stream
}

// Signature is an Ed25519 signature (RFC 8032) of the text "lifeboat manifest 1\n" + the SHA-256 in hex + "\n".
type Signature struct {
	ID        string `json:"id"`         // KeyID of the public key
	PublicKey string `json:"public_key"` // base64
	Signature string `json:"signature"`  // base64
}

// The entries that lifeboat adds to an archive. A manifest lists none of them.
const (
	SealInArchive   = "lifeboat/backup.json"
	ReadmeInArchive = "lifeboat/README.txt"
	PathInArchive   = "lifeboat/manifest.jsonl"
)

func message(digest string) []byte { return []byte("lifeboat manifest 1\n" + digest + "\n") }

// KeyID returns the short name of a public key: the first 16 hex digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Sign returns the bytes of lifeboat/backup.json. list describes the manifest that was written, its compressed size
// included.
func Sign(key ed25519.PrivateKey, list Sum, rawHeader []byte) ([]byte, error) {
	public := key.Public().(ed25519.PublicKey)
	deflated := Deflated{Size: list.Compressed - GzipHeader - GzipTrailer, CRC32: list.Deflated}
	return marshalSeal(Seal{
		Format:   Format,
		Manifest: Signed{PathInArchive, list.SHA256, list.Entries, deflated},
		Signer: Signature{
			ID:        KeyID(public),
			PublicKey: base64.StdEncoding.EncodeToString(public),
			Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(key, message(list.SHA256))),
		},
		Backup: rawHeader,
	})
}

func marshalSeal(s Seal) ([]byte, error) {
	data, err := marshal(s)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Authenticity says what a signature proves.
type Authenticity string

// The answers of Check.
const (
	Authenticated Authenticity = "authenticated"  // signed by a key that is trusted here
	UnknownSigner Authenticity = "unknown signer" // signed, by a key that is not known here
	Unsigned      Authenticity = "unsigned"
)

// MaxSeal bounds lifeboat/backup.json, in bytes: line 1 of a manifest, indented.
const MaxSeal = 4 * maxLine

// ParseSeal reads lifeboat/backup.json.
func ParseSeal(data []byte) (Seal, error) {
	var s Seal
	var version struct {
		Format int `json:"lifeboat_backup"` // read by itself: in a later format the rest may look different
	}
	if len(data) > MaxSeal {
		return s, failure.New(failure.Corrupt, "lifeboat/backup.json has more than %d bytes", MaxSeal)
	}
	err := json.Unmarshal(data, &version)
	if err == nil && version.Format > Format {
		return s, failure.New(failure.Invalid, "the archive has format %d, this lifeboat reads up to %d", version.Format, Format).
			WithHint("use a newer lifeboat")
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, failure.New(failure.Corrupt, "lifeboat/backup.json: %w", err)
	}
	if s.Format < 1 {
		return s, failure.New(failure.Corrupt, "lifeboat/backup.json has no format")
	}
	if again, err := marshalSeal(s); err != nil || !bytes.Equal(again, data) {
		return s, failure.New(failure.Corrupt, "lifeboat/backup.json is not as lifeboat writes it")
	}
	return s, nil
}

// Check holds a seal against the manifest that was read and the keys that are trusted. A signature that does not
// verify, or a seal that speaks of another manifest, is Corrupt. A seal that lost all of its signature is Unsigned.
func (s Seal) Check(m *Reader, entries int, trusted ...ed25519.PublicKey) (Authenticity, error) {
	digest := m.Digest()
	if s.Manifest.SHA256 != digest || s.Manifest.Entries != entries || s.Manifest.Path != PathInArchive {
		return "", failure.New(failure.Corrupt, "the manifest is not the one that was signed: its SHA-256 is %s, %s was signed", digest, s.Manifest.SHA256)
	}
	var stated bytes.Buffer
	if err := json.Compact(&stated, s.Backup); err != nil || !bytes.Equal(stated.Bytes(), m.RawHeader) {
		return "", failure.New(failure.Corrupt, "lifeboat/backup.json does not say what the manifest says")
	}
	if s.Signer == (Signature{}) {
		return Unsigned, nil
	}
	key, ok := s.Signer.verify(digest)
	if !ok {
		return "", failure.New(failure.Corrupt, "the signature of the manifest does not verify")
	}
	for _, t := range trusted {
		if t.Equal(key) {
			return Authenticated, nil
		}
	}
	return UnknownSigner, nil
}

// verify returns the key that made the signature.
func (s Signature) verify(digest string) (ed25519.PublicKey, bool) {
	raw, ok := decode64(s.PublicKey)
	signature, ok2 := decode64(s.Signature)
	key := ed25519.PublicKey(raw)
	if !ok || !ok2 || len(raw) != ed25519.PublicKeySize || s.ID != KeyID(key) {
		return nil, false
	}
	return key, ed25519.Verify(key, message(digest), signature)
}

// decode64 takes the one spelling that Sign writes; the decoder would skip newlines.
func decode64(text string) ([]byte, bool) {
	data, err := base64.StdEncoding.DecodeString(text)
	return data, err == nil && base64.StdEncoding.EncodeToString(data) == text
}
