package deployed

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"

	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/secret"
)

// minPhrase is the shortest text that a key is derived from, in characters: 32 random letters and digits have 190 bits.
const minPhrase = 32

// SigningKey reads the secret of the stack's signing key. It is what `lifeboat key export` prints, for a vault that one
// machine has made; or a text of at least 32 random characters, such as Secrets Manager makes when the stack is created:
// then the key and the vault's id derive from it (HMAC-SHA-256 under the text, of "lifeboat signing key 1" and "lifeboat
// vault id 1"), and no key ever has to be carried to the stack. The error never holds the text.
func SigningKey(text secret.String) (keyring.Key, error) {
	phrase := text.Reveal()
	if len(phrase) > 0 && phrase[0] == '{' {
		return keyring.Parse([]byte(phrase))
	}
	if len(phrase) < minPhrase {
		return keyring.Key{}, failure.New(failure.Usage, "the secret of the signing key is neither a key nor a text of at least %d random characters", minPhrase).
			WithHint("store what `lifeboat key export` prints there, or a random text of 64 letters and digits; never change it once there are backups")
	}
	id := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(derive(phrase, "lifeboat vault id 1"))
	return keyring.Key{Vault: id[:26], Private: ed25519.NewKeyFromSeed(derive(phrase, "lifeboat signing key 1"))}, nil
}

func derive(phrase, what string) []byte {
	mac := hmac.New(sha256.New, []byte(phrase))
	mac.Write([]byte(what))
	return mac.Sum(nil)
}
