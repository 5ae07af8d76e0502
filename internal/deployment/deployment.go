// Package deployment reads what lifeboat.yaml says of its deployment, the section deploy, and says what the stack in AWS
// will be made of. The stack (infra/) and `lifeboat deploy --print` read the same; a test of the stack holds what is said
// here against its template. The rest of the file is the one that every command reads; package config checks it.
//
//	deploy:
//	  stack: lifeboat                      # name of the stack; the default
//	  sources:
//	    photos: {cron: "0 2 * * ? *", zone: Europe/Zurich, window: 30m, overdue: 29h, kms-key: arn:aws:kms:…}
//	  targets:
//	    photos-new: {kms-key: arn:aws:kms:…}
//	  drills:
//	    photos-weekly: {source: photos, cron: "0 5 ? * SUN *", zone: Europe/Zurich}   # target: photos-drill, dry-run: true
//	  immutability: 30d governance         # or compliance, which nobody can undo
//	  mail: {from: backups@example.com}    # through SES; identity: example.com, existing: true
//	  alarms: [ops@example.com]
//	  budget: 20                           # US dollars a month
//	  api: {issuer: https://login.example.com/, audience: [lifeboat], scope-prefix: "backup:"}
//	  webhook: {url: secretsmanager:hook, key: secretsmanager:hook-key}
//	  secret-keys: [arn:aws:kms:…]         # keys of your own that the referenced secrets are encrypted with
//	  reserved-concurrency: {copy: 40}     # off where nothing is said
//	  permissions-boundary: arn:aws:iam::…:policy/…
//	  tags: {cost-centre: backups}
//
// A wrong section is refused as a whole, with all that is wrong in it at once.
package deployment

import (
	"time"

	"lifeboat/internal/config"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// DefaultStack is the name of the stack where the file gives none.
const DefaultStack = "lifeboat"

// Options is the section deploy, checked.
type Options struct {
	Stack      string
	Sources    map[string]Source
	Targets    map[string]Target
	Drills     map[string]Drill
	Lock       *Lock // nil: versions can be deleted by whoever may
	Mail       *Mail // nil: mail leaves as mail: says, or not at all
	Alarms     []string
	Budget     int // US dollars a month, of which the addresses of Alarms hear; 0: none
	API        API
	Webhook    *Webhook
	SecretKeys []string // ARNs of KMS keys
	Reserved   map[string]int
	Boundary   string // ARN of a policy
	Tags       map[string]string
	Warnings   []string // odd but usable
	Config     *config.Config
	ConfigText []byte // the file without the section: what the functions read
}

// When is when something runs.
type When struct {
	Cron   string // the six fields of EventBridge, without cron( )
	Zone   string // IANA
	Window time.Duration
}

// Source is how a source runs in the stack.
type Source struct {
	When                  // Cron "" : only when somebody asks
	Overdue time.Duration // after how long without a good backup it is overdue, by its schedule where nobody says; 0: never
	Key     string        // ARN of the KMS key of its bucket
}

// Target is what the stack must know of a target beside lifeboat.yaml.
type Target struct {
	Key string // ARN of the KMS key of its bucket
}

// Drill is a restore of the newest backup of a source that a schedule starts, to prove that it can be restored.
type Drill struct {
	When
	Source string
	Target string // that is there for drills; "": a throw-away place in the vault
	DryRun bool   // check every byte and write nothing
}

// Lock is Object Lock: no version is deleted or overwritten for so many days.
type Lock = vault.Lock

// Mail says that mail leaves through SES.
type Mail struct {
	From     string // an address
	Identity string // a domain, or an address
	Existing bool   // the account has the identity already
}

// API is who may call the HTTP API. IAM may always.
type API struct {
	Issuer      string // of an OIDC provider, https; "" for none
	Audience    []string
	ScopePrefix string // before read, run and restore
}

// Webhook hears of every run.
type Webhook struct {
	URL, Key secret.Reference
}
