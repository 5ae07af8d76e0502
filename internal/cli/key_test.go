package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// phrase is what Secrets Manager makes up for a stack.
const phrase = "kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aGkZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG"

// stackVault makes the place's vault the one of a stack: its key and id derive from the phrase, and this machine has
// the key, until somebody takes it away.
func (p *place) stackVault() keyring.Key {
	p.Helper()
	key, err := deployed.SigningKey(secret.New(phrase))
	if err != nil {
		p.Fatal(err)
	}
	server, client, done := p.attached()
	defer done()
	v := vault.New(client, localBucket, server.Sync)
	if err := v.CreateBucket(p.Context()); err != nil {
		p.Fatal(err)
	}
	about := vault.Description{ID: key.Vault, Created: time.Now().UTC(), Lifeboat: Version, PublicKey: key.Public()}
	if err := v.Initialise(p.Context(), about); err != nil {
		p.Fatal(err)
	}
	p.write("exported.json", string(keyring.Encode(key)))
	p.run("key", "import", "exported.json").exits(0)
	return key
}

// TestImportPhrase: a machine that has nothing but the vault and the phrase of the stack knows what the stack signed.
func TestImportPhrase(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	key := p.stackVault()
	p.backup(0)
	kept := strings.TrimSpace(strings.SplitN(p.run("key", "import", "exported.json").exits(0).out, " is kept in ", 2)[1])
	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	if got := p.run("verify", "latest").exits(0).out; strings.Contains(got, "signed with the key of this vault") {
		t.Fatalf("without the key the backup is authenticated already: %s", got)
	}
	p.write("phrase", phrase+"\n") // as the AWS command line prints it
	imported := p.run("key", "import", "phrase").exits(0)
	if !strings.Contains(imported.out, "the key of vault "+key.Vault+" is kept") || imported.err != "" {
		t.Errorf("%s%s", imported.out, imported.err)
	}
	if got := p.run("verify", "latest").exits(0).out; !strings.Contains(got, "authenticated: signed with the key of this vault") {
		t.Errorf("with the phrase: %s", got)
	}
	p.backup(0) // it can sign, too
	if got := p.run("key", "export").exits(0).out; got != string(keyring.Encode(key)) {
		t.Error("what is exported is another key")
	}
}

// TestImportOther: a phrase that is wrong gives a key, which is refused as that of another vault; what is none gives an
// error without it.
func TestImportOther(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write("phrase", strings.Repeat("hunter2x", 8))
	p.run("key", "import", "phrase").exits(0).says("nobody could tell whether it is the key of the vault")
	p.backup(0)
	before := p.run("key", "export").exits(0).out
	p.run("key", "import", "phrase").complains(11, "is another one", "--force")
	p.run("key", "import", "phrase", "--force").exits(0).says("warning: the vault at", "is another one")
	if after := p.run("key", "export").exits(0).out; after != before {
		t.Error("the key of the vault is another one now")
	}
	for name, text := range map[string]string{
		"short": "hunter2", "prose": strings.Repeat("hunter2 ", 20), "object": `{"hunter2": 1}`, "binary": strings.Repeat("hunter2\x00", 20),
		"cut": strings.Repeat("hunter2x", 8)[:63], "long": strings.Repeat("hunter2x", 8) + "x", "quoted": `"` + strings.Repeat("hunter2x", 8) + `"`,
	} {
		p.write(name, text)
		r := p.run("key", "import", name).complains(13, name+": this is no signing key", "SigningKeyCommand")
		if strings.Contains(r.out+r.err, "hunter2") {
			t.Errorf("%s: the error holds the text", name)
		}
	}
	p.run("key", "import", "cut", "--force").exits(0) // a secret that somebody has made up: deployed.SigningKey takes it
	cmd := p.command("key", "import", "-", "--force")
	cmd.Stdin = strings.NewReader(phrase + "\n")
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "the key of vault ") {
		t.Errorf("from standard input: %s %v", out, err)
	}
}
