package deployed_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/secret"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

func TestVersion(t *testing.T) {
	source, err := os.ReadFile("../../cli/root.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), fmt.Sprintf("Version = %q", deployed.Version)) {
		t.Errorf("the command line has another version than %s", deployed.Version)
	}
}

// TestFunctions holds the table against the definitions, the steps and the folders.
func TestFunctions(t *testing.T) {
	names := []string{}
	for _, f := range deployed.Functions {
		names = append(names, f.Name)
		if _, err := os.Stat("../../../functions/" + f.Name + "/main.go"); err != nil {
			t.Error(err)
		}
		if f.Timeout > 15*time.Minute || f.Memory < 128 || f.Memory > 10240 || f.Says == "" {
			t.Errorf("%+v", f)
		}
		for _, g := range f.Vault {
			single := strings.ReplaceAll(g.Prefix, "snapshots/*/*/", "snapshots/") // of any backup of any source
			if strings.Contains(g.Action+single, "*") || g.Prefix != "" && g.Prefix != "vault.json" && !strings.HasSuffix(g.Prefix, "/") {
				t.Errorf("%s: %+v", f.Name, g)
			}
		}
		if _, isStep := step.Functions[f.Name]; !isStep && f.Name != "restore" && f.Name != "api" && f.Name != "start" {
			t.Errorf("no step is %s's", f.Name)
		}
	}
	for _, functions := range []map[string]string{workflow.BackupFunctions, workflow.RestoreFunctions} {
		for _, name := range functions {
			if !slices.Contains(names, name) {
				t.Errorf("the workflow calls %s", name)
			}
		}
	}
	folders, err := os.ReadDir("../../../functions")
	if err != nil || len(folders) != len(names) {
		t.Errorf("%d folders, %d functions, %v", len(folders), len(names), err)
	}
}

func TestMay(t *testing.T) {
	export, _ := deployed.Named("export")
	for _, c := range []struct {
		action, key string
		may         bool
	}{
		{"s3:PutObject", "snapshots/a/b", true},
		{"s3:PutObject", "packs/a/b", false},
		{"s3:PutObject", "snapshots/", false},
		{"s3:PutObject", "snapshotsx", false},
		{"s3:ListBucket", "", true},
		{"s3:GetObject", "", false},
		{"s3:GetObject", "vault.json", true},
		{"s3:GetObject", "vault.jsonx", false},
	} {
		if export.May(c.action, c.key) != c.may {
			t.Errorf("%s %s: %v", c.action, c.key, !c.may)
		}
	}
}

func environment(more map[string]string) func(string) string {
	all := map[string]string{
		"LIFEBOAT_STACK": "prod", "LIFEBOAT_CONFIG": "s3://assets/abc.yaml", "LIFEBOAT_VAULT_BUCKET": "vault",
		"LIFEBOAT_SIGNING_KEY": "secretsmanager:arn:aws:secretsmanager:eu-central-1:111122223333:secret:k", "LIFEBOAT_LINK_KEY": "ssm:/k",
		"LIFEBOAT_PUBLIC_URL": "https://backup.example.org/", "LIFEBOAT_BACKUP_MACHINE": "arn:aws:states:eu-central-1:111122223333:stateMachine:b",
	}
	maps.Copy(all, more)
	return func(name string) string { return all[name] }
}

func TestRead(t *testing.T) {
	public, _, _ := ed25519.GenerateKey(nil)
	for _, f := range deployed.Functions {
		e, err := deployed.Read(f.Name, environment(map[string]string{
			"LIFEBOAT_TRUSTED_KEYS": base64.StdEncoding.EncodeToString(public) + ", " + base64.StdEncoding.EncodeToString(public),
		}))
		if err != nil || e.Function != f.Name || e.Margin != 30*time.Second || e.PublicURL != "https://backup.example.org" || len(e.Trusted) != 2 || e.Loopback {
			t.Errorf("%s: %+v, %v", f.Name, e, err)
		}
		_, err = deployed.Read(f.Name, func(string) string { return "" })
		for _, name := range f.Required {
			if !strings.Contains(fmt.Sprint(err), name+" is not set") {
				t.Errorf("%s without %s: %v", f.Name, name, err)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for variable, value := range map[string]string{
		"LIFEBOAT_SIGNING_KEY": "hunter2-hunter2", "LIFEBOAT_LINK_KEY": "env:KEY", "LIFEBOAT_PUBLIC_URL": "ftp://x", "LIFEBOAT_DEADLINE_MARGIN": "1h",
		"LIFEBOAT_TRUSTED_KEYS": "AAAA", "LIFEBOAT_MAIL": "smtp", "LIFEBOAT_WEBHOOK": "ssm:/hook", "LIFEBOAT_VAULT_OWNER": "me",
		"LIFEBOAT_IMMUTABILITY": "forever", "LIFEBOAT_MAC_KEY": "alias/mac",
	} {
		_, err := deployed.Read("notify", environment(map[string]string{variable: value}))
		if failure.KindOf(err) != failure.Usage || !strings.Contains(fmt.Sprint(err), variable) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s=%s: %v", variable, value, err)
		}
	}
	if _, err := deployed.Read("notify", environment(map[string]string{"LIFEBOAT_MAIL": "ses"})); !strings.Contains(fmt.Sprint(err), "LIFEBOAT_MAIL_FROM") {
		t.Errorf("SES without a sender: %v", err)
	}
}

// TestLocksAndMACs: who seals may lock and make MACs, nobody else may, and nobody may take a lock away.
func TestLocksAndMACs(t *testing.T) {
	for _, f := range deployed.Functions {
		for _, g := range f.Vault {
			sees := f.Name == "export" && g == deployed.Grant{Action: "s3:GetObjectRetention", Prefix: "packs/"} // it frees what lost runs packed
			if deployed.Locks(g.Action) && f.Name != "package" && !sees || strings.Contains(g.Action, "Bypass") || strings.HasSuffix(g.Action, "Version") {
				t.Errorf("%s may %s on %s", f.Name, g.Action, g.Prefix)
			}
		}
		if slices.Contains(f.MAC, deployed.MakeMAC) != (f.Name == "package") || len(f.MAC) > 0 != slices.Contains(f.Optional, "LIFEBOAT_MAC_KEY") {
			t.Errorf("%s may %v", f.Name, f.MAC)
		}
	}
	e, err := deployed.Read("package", environment(map[string]string{
		"LIFEBOAT_IMMUTABILITY": "30d compliance", "LIFEBOAT_MAC_KEY": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab",
	}))
	if err != nil || e.Lock == nil || *e.Lock != (vault.Lock{Days: 30, Compliance: true}) || e.MACKey == "" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestSigningKey(t *testing.T) {
	phrase := secret.New("kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aGkZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG")
	one, err := deployed.SigningKey(phrase)
	two, _ := deployed.SigningKey(phrase)
	if err != nil || !one.Private.Equal(two.Private) || one.Vault != two.Vault {
		t.Fatalf("%v; the key is another one each time", err)
	}
	// Whoever changes how keys derive locks every stack out of its vault.
	if public := base64.StdEncoding.EncodeToString(one.Public()); one.Vault != wantVault || public != wantPublic {
		t.Errorf("vault %s, public key %s", one.Vault, public)
	}
	exported, err := deployed.SigningKey(secret.New(string(keyring.Encode(one))))
	if err != nil || !exported.Private.Equal(one.Private) || exported.Vault != one.Vault {
		t.Errorf("what `key export` prints: %v", err)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9]{10,40}$`).MatchString(one.Vault) {
		t.Errorf("%s is no id of a vault", one.Vault)
	}
	for _, text := range []string{"", "hunter2", `{"lifeboat_key":1,"seed":"hunter2"}`} {
		if _, err := deployed.SigningKey(secret.New(text)); err == nil || strings.Contains(fmt.Sprint(err, failure.HintOf(err)), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

const (
	wantVault  = "J476AL3LT5U5UVQ2KLVOEU5KQ7"
	wantPublic = "w4Two7zauQqp54bErFQ3owWQwt9dJNv0AFH3ubPj4MQ="
)

const unfit = `
vault: ./vault
mail: {from: a@example.org, smtp: "smtp://user:hunter2@host"}
sources:
  folder: {kind: files, path: /srv/files}
  links: {kind: linkding, data: /srv/linkding}
  near: {kind: zipline, url: "http://localhost:3000", token: "env:TOKEN", datasource: "s3://uploads", config-files: [/etc/zipline.env]}
  profiled: {kind: files, path: {s3: "s3://data", profile: me}}
  keyed: {kind: files, path: {s3: "s3://data", endpoint: "http://127.0.0.1:9000", access-key: "file:/a", secret-key: hunter2}}
  itself: {kind: files, path: "s3://stack-vault"}
  partner: {kind: files, path: {s3: "s3://theirs", role: "arn:aws:iam::444455556666:role/r", external-id: "env:ID"}}
  friend: {kind: files, path: {s3: "s3://theirs", role: "arn:aws:iam::444455556666:role/r", external-id: "friend-7f3e"}}
  good: {kind: zipline, url: "https://z.example.org", token: "secretsmanager:zipline", datasource: "s3://uploads/zipline"}
targets:
  back: {kind: zipline, url: "http://[::1]:3000", token: "ssm:/token", datasource: /srv/uploads}
  fine: {kind: files, path: "s3://elsewhere"}
`

func TestFit(t *testing.T) {
	c, err := config.Parse("lifeboat.yaml", []byte(unfit), "/etc/lifeboat")
	if err != nil {
		t.Fatal(err)
	}
	refused := deployed.Place{VaultBucket: "stack-vault"}.Fit(c)
	var texts []string
	for _, err := range refused {
		texts = append(texts, err.Error())
		if failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" || strings.Contains(fmt.Sprint(err, failure.HintOf(err)), "hunter2") {
			t.Errorf("%v, hint %q", err, failure.HintOf(err))
		}
	}
	for _, want := range []string{
		"the source folder has its files in the folder /srv/files",
		"the source links has its files in the folder /srv/linkding",
		"the source near is at http://localhost:3000",
		"the source near: its token is env:TOKEN",
		"the source near has config-files",
		"the source profiled reaches its bucket with the profile me",
		"the source keyed has its files at http://127.0.0.1:9000",
		"the source keyed: its access-key is file:/a",
		"the source keyed: its secret-key stands in the configuration itself",
		"the source itself has its files in stack-vault",
		"the source partner: its external-id is env:ID",
		"the target back is at http://[::1]:3000",
		"the target back has its files in the folder /srv/uploads",
		"mail: {smtp: …} stands in the configuration itself",
		"mail: {smtp: …} is at host: a name without a dot",
	} {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(text, want) }) {
			t.Errorf("nobody says: %s", want)
		}
	}
	if len(refused) != 15 {
		t.Errorf("%d refusals:\n%s", len(refused), strings.Join(texts, "\n"))
	}
	if near := (deployed.Place{Loopback: true}).Source(c.Sources[2]); len(near) != 2 {
		t.Errorf("on one machine: %v", near)
	}
}

// TestReached: the functions have no VPC, and reach public addresses only.
func TestReached(t *testing.T) {
	for address, want := range map[string]string{
		"https://zipline.example.com": "", "http://1.1.1.1:3000": "", "https://[2606:4700:4700::1111]": "", "https://lan.example.com": "",
		"http://10.0.0.5:3000": "a private address", "http://172.20.1.1": "a private address", "http://192.168.1.9": "a private address",
		"http://169.254.169.254": "a private address", "http://100.100.1.1": "a private address", "http://[fd00::1]": "a private address",
		"http://[::ffff:10.0.0.5]": "a private address", "http://[fe80::1]": "a private address", "http://0.0.0.0:3000": "the function itself",
		"http://zipline:3000": "a name without a dot", "http://2130706433": "written in an odd way", "https://nas.local": "a name of your own network",
		"https://zipline.internal.": "a name of your own network", "http://app.localhost": "the function itself",
		"http://127.1": "written in an odd way", "http://0x7f.0.0.1:3000": "written in an odd way", "http://0.1.2.3": "the internet does not have", "http://[64:ff9b::7f00:1]": "(NAT64)",
		"http://224.0.0.1": "(multicast)", "http://198.18.0.1": "(benchmarks)", "http://255.255.255.255": "(reserved)", "http://nas.localdomain": "a name of your own network",
		"http://wiki.intranet": "a name of your own network", "http://wiki.corp": "a name of your own network", "http://nas.home": "a name of your own network",
		"http://nas.fritz.box": "a name of your own network", "http://photos.test": "a name of your own network", "http://photos.invalid": "a name of your own network",
		"http://localhost.localdomain": "the function itself", "http://[::]": "the function itself",
	} {
		s := config.Source{Name: "photos", Instance: config.Instance{Kind: "zipline", URL: address, Token: "ssm:/token"}}
		refused := deployed.Place{}.Source(s)
		switch {
		case want == "" && len(refused) > 0:
			t.Errorf("%s: %v", address, refused)
		case want != "" && (len(refused) != 1 || !strings.Contains(refused[0].Error(), want) || failure.HintOf(refused[0]) == ""):
			t.Errorf("%s: %v, want %q", address, refused, want)
		}
		if near := (deployed.Place{Loopback: true}).Source(s); len(near) > 0 {
			t.Errorf("in a test: %v", near)
		}
	}
}

// TestLinks: where the links of mails lead must be there for whoever opens one.
func TestLinks(t *testing.T) {
	for public, want := range map[string]string{
		"": "", "https://backup.example.com": "", "https://notlocalhost.com": "", "https://localhost.example.com": "",
		"https://127.0.0.1:8443": "that is their own", "https://localhost": "that is their own", "https://[::1]": "that is their own",
		"https://127.1": "written in an odd way", "https://backup.lan": "leads nobody to the stack", "https://10.0.0.7": "a private address",
		"http://backup.example.com": "by https only", "http://localhost:8420": "that is their own",
	} {
		refused := deployed.Place{}.Links(public)
		if want == "" && len(refused) > 0 || want != "" && (len(refused) != 1 || !strings.Contains(refused[0].Error(), want) || failure.HintOf(refused[0]) == "") {
			t.Errorf("%s: %v, want %q", public, refused, want)
		}
	}
	if refused := (deployed.Place{}).Issuer("https://localhost/x"); len(refused) != 1 || !strings.Contains(refused[0].Error(), "the function itself") {
		t.Errorf("an issuer that is not there: %v", refused)
	}
}
