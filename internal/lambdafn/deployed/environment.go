package deployed

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Environment is what a function finds in its environment. No variable holds a secret: keys and addresses that are
// secret are references, secretsmanager:… or ssm:….
type Environment struct {
	Function string // the name of this function
	Stack    string // LIFEBOAT_STACK: of the stack, a dimension of its metrics
	// LIFEBOAT_CONFIG: lifeboat.yaml as s3://bucket/key, ssm:NAME, or its text, YAML or JSON. What its vault: says is
	// replaced by the stack's own bucket. The stack uploads the file as an asset, whose key changes with its content: a
	// deployment changes code and configuration together.
	Config      string
	VaultBucket string // LIFEBOAT_VAULT_BUCKET
	VaultOwner  string // LIFEBOAT_VAULT_OWNER: the account that must own it; "" for any
	// LIFEBOAT_IMMUTABILITY: how what a backup needs is locked when it is sealed, such as "30d governance"; nil: not at all.
	Lock *vault.Lock
	// LIFEBOAT_MAC_KEY: ARN of the HMAC key of KMS that manifests get a MAC from, beside their signature; "" for none. What
	// its role lets a function do with it, make or only check, is the stack's to say.
	MACKey string
	// LIFEBOAT_SIGNING_KEY: what `lifeboat key export` prints, or a random text from which the key is derived; see
	// SigningKey.
	SigningKey secret.Reference
	// LIFEBOAT_LINK_KEY: a random text from which links derive. Whoever has it can forge links, but not backups.
	LinkKey secret.Reference
	// LIFEBOAT_TRUSTED_KEYS: public keys in base64, separated by commas, whose signatures a restore trusts beside the
	// signing key's.
	Trusted   []ed25519.PublicKey
	PublicURL string // LIFEBOAT_PUBLIC_URL: where people reach the API; takes the place of serve: {public-url: …}
	// LIFEBOAT_MAIL: "ses", or "" for the server that mail: {smtp: …} names. LIFEBOAT_MAIL_FROM is the sender's address
	// and takes the place of mail: {from: …}.
	Mail, MailFrom   string
	ConfigurationSet string           // LIFEBOAT_SES_CONFIGURATION_SET
	Webhook          secret.Reference // LIFEBOAT_WEBHOOK: an https URL that hears of every run; "" for none
	WebhookKey       secret.Reference // LIFEBOAT_WEBHOOK_KEY: that signs what it hears
	// LIFEBOAT_BACKUP_MACHINE and LIFEBOAT_RESTORE_MACHINE: ARNs of the state machines.
	BackupMachine, RestoreMachine string
	// LIFEBOAT_DEADLINE_MARGIN: how long before Lambda's own deadline a step is told to stop; 30 s where nothing is said.
	Margin time.Duration
	// LIFEBOAT_LOOPBACK=1 lets through what no function of AWS can reach: only for tests that run the functions as
	// processes of one machine.
	Loopback bool
}

// DefaultMargin is the margin before the deadline where the environment does not say.
const DefaultMargin = 30 * time.Second

var (
	account = regexp.MustCompile(`^[0-9]{12}$`)
	macKey  = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
)

// Read reads the environment of a function through getenv. All that is wrong comes back at once, as a Usage error.
func Read(function string, getenv func(string) string) (Environment, error) {
	r := &variables{getenv: getenv}
	f, known := Named(function)
	if !known {
		return Environment{}, failure.New(failure.Internal, "there is no function %q", function)
	}
	for _, name := range f.Required {
		if getenv(name) == "" {
			r.wrong("%s is not set", name)
		}
	}
	e := Environment{
		Function: function, Stack: getenv("LIFEBOAT_STACK"), Config: getenv("LIFEBOAT_CONFIG"),
		VaultBucket: getenv("LIFEBOAT_VAULT_BUCKET"), VaultOwner: getenv("LIFEBOAT_VAULT_OWNER"),
		SigningKey: r.reference("LIFEBOAT_SIGNING_KEY"), LinkKey: r.reference("LIFEBOAT_LINK_KEY"), Trusted: r.keys("LIFEBOAT_TRUSTED_KEYS"),
		PublicURL: r.url("LIFEBOAT_PUBLIC_URL"), Mail: getenv("LIFEBOAT_MAIL"), MailFrom: getenv("LIFEBOAT_MAIL_FROM"),
		ConfigurationSet: getenv("LIFEBOAT_SES_CONFIGURATION_SET"),
		Webhook:          r.reference("LIFEBOAT_WEBHOOK"), WebhookKey: r.reference("LIFEBOAT_WEBHOOK_KEY"),
		BackupMachine: getenv("LIFEBOAT_BACKUP_MACHINE"), RestoreMachine: getenv("LIFEBOAT_RESTORE_MACHINE"),
		Margin: r.margin("LIFEBOAT_DEADLINE_MARGIN"), Loopback: getenv("LIFEBOAT_LOOPBACK") == "1",
	}
	switch {
	case e.Mail != "" && e.Mail != "ses":
		r.wrong("LIFEBOAT_MAIL is neither ses nor empty")
	case e.Mail == "ses" && e.MailFrom == "":
		r.wrong("LIFEBOAT_MAIL is ses, and LIFEBOAT_MAIL_FROM is not set")
	}
	if (e.Webhook == "") != (e.WebhookKey == "") {
		r.wrong("LIFEBOAT_WEBHOOK and LIFEBOAT_WEBHOOK_KEY need one another")
	}
	if text := getenv("LIFEBOAT_IMMUTABILITY"); text != "" {
		lock, err := vault.ParseLock(text)
		if err != nil {
			r.wrong("LIFEBOAT_IMMUTABILITY: %w", err)
		}
		e.Lock = &lock
	}
	if e.MACKey = getenv("LIFEBOAT_MAC_KEY"); e.MACKey != "" && !macKey.MatchString(e.MACKey) {
		r.wrong("LIFEBOAT_MAC_KEY is no ARN of a key of KMS")
	}
	if e.VaultOwner != "" && !account.MatchString(e.VaultOwner) {
		r.wrong("LIFEBOAT_VAULT_OWNER is no account of 12 digits")
	}
	if len(r.problems) > 0 {
		return e, failure.New(failure.Usage, "the environment of the function %s: %w", function, errors.Join(r.problems...)).
			WithHint("deploy the stack again; a variable of a function is not changed by hand")
	}
	return e, nil
}

// variables collects what is wrong with them.
type variables struct {
	getenv   func(string) string
	problems []error
}

func (v *variables) wrong(format string, args ...any) {
	v.problems = append(v.problems, failure.New(failure.Usage, format, args...))
}

// reference reads a reference to a secret: never the secret itself, which everybody sees who may see the function.
func (v *variables) reference(name string) secret.Reference {
	text := v.getenv(name)
	scheme, rest, _ := strings.Cut(text, ":")
	if text != "" && (rest == "" || !slices.Contains([]string{"secretsmanager", "ssm"}, scheme)) {
		v.wrong("%s is no reference, secretsmanager:… or ssm:…", name)
		return ""
	}
	return secret.Reference(text)
}

func (v *variables) url(name string) string {
	text := strings.TrimRight(v.getenv(name), "/")
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		v.wrong("%s is no URL", name)
	}
	return text
}

func (v *variables) margin(name string) time.Duration {
	text := v.getenv(name)
	if text == "" {
		return DefaultMargin
	}
	margin, err := time.ParseDuration(text)
	if err != nil || margin < 0 || margin > 10*time.Minute {
		v.wrong("%s is no time up to 10m, such as 30s", name)
	}
	return margin
}

func (v *variables) keys(name string) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, text := range strings.FieldsFunc(v.getenv(name), func(r rune) bool { return r == ',' }) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(key) != ed25519.PublicKeySize {
			v.wrong("%s holds something that is no public key", name)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}
