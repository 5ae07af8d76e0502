package deployment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/config"
	"lifeboat/internal/secret"
	"lifeboat/workflow"
)

// Facts is what the stack will be made of, as `lifeboat deploy --print` shows it. No field holds a secret.
type Facts struct {
	Stack     string     `json:"stack"`
	Vault     Vault      `json:"vault"`
	Functions []Function `json:"functions"`
	Workflows []Workflow `json:"workflows"`
	Schedules []Schedule `json:"schedules"`
	APIs      []Endpoint `json:"apis"`
	Mail      string     `json:"mail"` // how it leaves, in words
	Webhook   bool       `json:"webhook"`
	Alarms    []Alarm    `json:"alarms"`
	Told      []string   `json:"told"`             // addresses that hear of alarms
	Budget    int        `json:"budget,omitempty"` // US dollars a month
	Queues    []Queue    `json:"queues"`
	Keys      []Key      `json:"keys"`
	Secrets   []Secret   `json:"secrets"`
	Outputs   []Output   `json:"outputs"`
	Fixed     Fixed      `json:"-"`
	Warnings  []string   `json:"warnings"`
}

// Vault is the bucket of the backups.
type Vault struct {
	Encryption string `json:"encryption"`
	Lock       string `json:"lock"` // in words
	Lifecycle  []Rule `json:"lifecycle"`
}

// Rule is one of the bucket's lifecycle, in days; 0 where it does not say.
type Rule struct {
	ID         string `json:"id"`
	Prefix     string `json:"prefix,omitempty"`
	Expire     int    `json:"expire_days,omitempty"`
	Noncurrent int    `json:"noncurrent_days,omitempty"` // for versions that are no longer the newest
	Abort      int    `json:"abort_uploads_days,omitempty"`
}

// Function is one Lambda function.
type Function struct {
	Name     string   `json:"name"`
	Says     string   `json:"says"`
	Memory   int      `json:"memory_mib"`
	Timeout  Length   `json:"timeout"`
	Reserved int      `json:"reserved_concurrency,omitempty"`
	May      []string `json:"may"` // in words
}

// Length is a time that is written as people write it.
type Length time.Duration

// MarshalText writes "15m".
func (l Length) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l Length) String() string {
	const day = 24 * time.Hour
	if d := time.Duration(l); d > 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := time.Duration(l).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Workflow is one state machine.
type Workflow struct {
	Name      string   `json:"name"`
	Says      string   `json:"says"`
	Functions []string `json:"functions"` // that it calls
}

// Schedule is one of EventBridge Scheduler.
type Schedule struct {
	ID         string      `json:"id"`
	Says       string      `json:"says"`
	Expression string      `json:"expression"`
	When       string      `json:"when"` // in words
	Zone       string      `json:"zone"`
	Window     Length      `json:"window"` // how much later it may begin
	Next       []time.Time `json:"next"`   // the next three times, in its zone; none of a rate
}

// Endpoint is an HTTP API, or a part of one, with who may call it.
type Endpoint struct {
	API    string   `json:"api"` // "public" or "machines"
	Who    string   `json:"who"`
	Routes []Route  `json:"-"`
	Keys   []string `json:"routes"`
}

// Key is a KMS key: one that is made, or one that is there.
type Key struct {
	Says string `json:"says"`
	ARN  string `json:"arn,omitempty"` // "" for one that is made
}

// Secret is one of Secrets Manager or a SecureString: one that is made, or one that the configuration refers to.
type Secret struct {
	Says      string `json:"says"`
	Reference string `json:"reference,omitempty"` // "" for one that is made
}

// Fixed is what is paid each month, whether anybody backs up or not; package estimate has the prices.
type Fixed struct {
	Keys       int64 // that are made
	Secrets    int64 // that are made
	Watched    int64 // metrics that alarms look at
	Metrics    int64 // that the watchdog writes all month
	Dashboards int64
	Sources    int64 // that the watchdog looks at
}

// Facts says what the stack will be made of. now is when the next runs are counted from.
func (o *Options) Facts(now time.Time) Facts {
	f := Facts{
		Stack: o.Stack, Vault: o.bucket(), Functions: o.functions(), Schedules: o.schedules(now), APIs: o.apis(), Mail: o.mail(),
		Webhook: o.Webhook != nil, Alarms: Alarms, Told: o.Alarms, Budget: o.Budget, Queues: Queues, Keys: o.keys(), Secrets: o.secrets(),
		Outputs: o.Outputs(), Warnings: o.Warnings,
		Workflows: []Workflow{
			{"Backup", "backs up one source: begin, snapshot, plan, copy (up to 40 batches at the same time), assemble, seal, notify", called(workflow.BackupFunctions)},
			{"Restore", "restores one backup, archive or URL: begin, fetch, check, put, confirm, release, notify", called(workflow.RestoreFunctions)},
		},
	}
	f.Fixed = o.fixed(f)
	return f
}

func called(functions map[string]string) []string {
	var names []string
	for _, name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Backstop is how much later than prune's the lifecycle rule for archives is, in days.
const Backstop = 30

func (o *Options) bucket() Vault {
	v := Vault{
		Encryption: "SSE-KMS with the stack's own key, which rotates each year; TLS only; no public access; versioned",
		Lock:       "none: whoever may delete versions can", Lifecycle: o.Lifecycle(),
	}
	if lock := o.Lock; lock != nil {
		const key = "the key that reads it is not locked: guard it against its deletion, see docs/runbook.md"
		v.Lock = fmt.Sprintf("what a backup needs is locked for %d days after it; who may bypass governance can still delete it; %s", lock.Days, key)
		if lock.Compliance {
			v.Lock = fmt.Sprintf("what a backup needs is locked for %d days after it, and nobody can delete its bytes, not even the account's root; %s", lock.Days, key)
		}
	}
	return v
}

// Lifecycle is what the bucket clears by itself: uploads that nobody completes, old versions (S3 passes over those that are
// locked, and takes them when the lock has ended), archives that fetches left, what drills left, and archives that prune
// should have expired a month ago. What is removed from places of passage, or written anew there, nobody wants back: its old
// versions go after a day.
func (o *Options) Lifecycle() []Rule {
	all := []Rule{
		{ID: "unfinished-uploads", Abort: 1},
		{ID: "old-versions", Noncurrent: 30},
		{ID: "fetched-archives", Prefix: "incoming/", Expire: 7},
		{ID: "old-fetched-archives", Prefix: "incoming/", Noncurrent: 1},
		{ID: "drills", Prefix: "drills/", Expire: 7},
		{ID: "old-drills", Prefix: "drills/", Noncurrent: 1},
		{ID: "old-lists-of-restores", Prefix: "restores/", Noncurrent: 1},
	}
	for _, s := range o.Config.Sources {
		if keep := s.Archive.Keep; keep > 0 {
			whole := int((keep + 24*time.Hour - 1) / (24 * time.Hour))
			all = append(all, Rule{ID: "archives-" + string(s.Name), Prefix: "archives/" + string(s.Name) + "/", Expire: whole + Backstop})
		}
	}
	return all
}

func (o *Options) schedules(now time.Time) []Schedule {
	var all []Schedule
	for _, name := range sorted(o.Sources) {
		s := o.Sources[name]
		if s.Cron != "" {
			says := "backs up " + name
			if s.Overdue == 0 {
				says += ", which is never overdue"
			}
			all = append(all, s.schedule("Backup"+ID(name), says, now))
		}
		if s.Overdue > 0 {
			minutes := int(WatchEvery.Minutes())
			all = append(all, Schedule{
				ID: "Watch" + ID(name), Says: "looks whether " + name + " has a good backup of the last " + Length(s.Overdue).String(),
				Expression: fmt.Sprintf("rate(%d minutes)", minutes), When: fmt.Sprintf("every %d minutes", minutes), Zone: "UTC", Next: []time.Time{},
			})
		}
	}
	for _, name := range sorted(o.Drills) {
		d := o.Drills[name]
		all = append(all, d.schedule("Drill"+ID(name), d.Says(), now))
	}
	return all
}

// Says is what a drill does.
func (d Drill) Says() string {
	switch {
	case d.DryRun:
		return "checks every byte of the newest backup of " + d.Source + " against " + d.Target + ", and writes nothing"
	case d.Target == "":
		return "restores the newest backup of " + d.Source + " into a throw-away place of the vault, compares, and removes it"
	default:
		return "restores the newest backup of " + d.Source + " into " + d.Target + ", which is there for drills, and compares"
	}
}

func (w When) schedule(id, says string, now time.Time) Schedule {
	s := Schedule{ID: id, Says: says, Expression: "cron(" + w.Cron + ")", When: "cron(" + w.Cron + ")", Zone: w.Zone, Window: Length(w.Window), Next: []time.Time{}}
	c, err := parseCron(w.Cron)
	zone, zoneErr := time.LoadLocation(w.Zone)
	if err == nil && zoneErr == nil { // both were checked when the file was read
		s.When, s.Next = c.words(), append(s.Next, c.next(now.In(zone), 3)...)
	}
	return s
}

func (o *Options) apis() []Endpoint {
	links := cmp.Or(o.LinksAt(), "this API's own address, which the output LinksCommand says")
	all := []Endpoint{endpoint("public", "anybody; the token of a link is what lets through; the links of mails lead to "+links, OpenRoutes)}
	if o.API.Issuer != "" {
		for _, scope := range []string{"run", "read", "restore"} {
			var routes []Route
			for _, r := range ClosedRoutes {
				if r.Scope == scope {
					routes = append(routes, r)
				}
			}
			all = append(all, endpoint("public", "people with a token of "+o.API.Issuer+" for "+strings.Join(o.API.Audience, " or ")+
				" and the scope "+o.API.ScopePrefix+scope, routes))
		}
	}
	return append(all, endpoint("machines", "roles and users of the account whose policy allows execute-api:Invoke", ClosedRoutes))
}

// LinksAt is the address of a domain of the user's own, before the public API, to which the links of mails lead; "" for the
// API's own address. Where `lifeboat serve` listens, from which public-url follows where the file says none, is no such.
func (o *Options) LinksAt() string {
	if public := o.Config.Serve.PublicURL; strings.HasPrefix(public, "https://") {
		return public
	}
	return ""
}

func endpoint(api, who string, routes []Route) Endpoint {
	e := Endpoint{API: api, Who: who, Routes: routes}
	for _, r := range routes {
		e.Keys = append(e.Keys, r.Key)
	}
	return e
}

func (o *Options) mail() string {
	switch {
	case o.Mail != nil && o.Mail.Existing:
		return "from " + o.Mail.From + " through SES; the identity " + o.Mail.Identity + " is there already"
	case o.Mail != nil:
		return "from " + o.Mail.From + " through SES; the identity " + o.Mail.Identity + " is made"
	case o.Config.Mail != nil:
		return "from " + o.Config.Mail.From + " through the server that mail: {smtp: …} names"
	}
	return "none: no deploy: {mail: …} and no mail: {smtp: …}"
}

func (o *Options) keys() []Key {
	all := []Key{{Says: "encrypts the vault, its secrets, the topic of failures and the logs"}, {Says: "makes the MACs of manifests, and never leaves KMS"}}
	for _, name := range sorted(o.Sources) {
		all = appendKey(all, "of the bucket of the source "+name, o.Sources[name].Key)
	}
	for _, name := range sorted(o.Targets) {
		all = appendKey(all, "of the bucket of the target "+name, o.Targets[name].Key)
	}
	for _, arn := range o.SecretKeys {
		all = appendKey(all, "of the secrets that are referred to", arn)
	}
	return all
}

func appendKey(all []Key, says, arn string) []Key {
	if arn == "" {
		return all
	}
	return append(all, Key{says, arn})
}

func (o *Options) secrets() []Secret {
	all := []Secret{{Says: "the phrase that the signing key derives from"}, {Says: "the phrase that links derive from"}}
	refer := func(says string, r secret.Reference) {
		if scheme, _, _ := strings.Cut(string(r), ":"); scheme == "secretsmanager" || scheme == "ssm" {
			all = append(all, Secret{says, string(r)})
		}
	}
	instance := func(who string, i config.Instance) {
		refer("token of the "+who, i.Token)
		if b := i.Datasource.Bucket; b != nil {
			refer("access key of the bucket of the "+who, b.AccessKey)
			refer("secret key of the bucket of the "+who, b.SecretKey)
			refer("external id for the role of the "+who, b.ExternalID)
		}
	}
	for _, s := range o.Config.Sources {
		instance("source "+string(s.Name), s.Instance)
	}
	for _, t := range o.Config.Targets {
		instance("target "+t.Name, t.Instance)
	}
	if o.Mail == nil && o.Config.Mail != nil {
		refer("address of the mail server", o.Config.Mail.SMTP)
	}
	if o.Webhook != nil {
		refer("address of the webhook", o.Webhook.URL)
		refer("key that signs what the webhook hears", o.Webhook.Key)
	}
	return all
}

// Metrics that the watchdog writes: age, overdue and damage, for the stack and for each source.
const watchedMetrics = 3

func (o *Options) fixed(f Facts) Fixed {
	m := Fixed{Dashboards: 1}
	for _, k := range f.Keys {
		if k.ARN == "" {
			m.Keys++
		}
	}
	for _, s := range f.Secrets {
		if s.Reference == "" {
			m.Secrets++
		}
	}
	for _, a := range f.Alarms {
		m.Watched += int64(a.Metrics)
	}
	for _, s := range o.Sources {
		if s.Overdue > 0 {
			m.Metrics += watchedMetrics
			m.Sources++
		}
	}
	if m.Metrics > 0 {
		m.Metrics += watchedMetrics
	}
	return m
}
