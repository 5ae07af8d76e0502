package deployment

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/secret"
)

// reader collects what is wrong with a section.
type reader struct {
	config   *config.Config
	problems []error
	warnings []string
}

func (r *reader) wrong(format string, args ...any) {
	r.problems = append(r.problems, failure.New(failure.Usage, "deploy: "+format, args...))
}

func (r *reader) options(section []byte) *Options {
	f, problems := decode(section)
	r.problems = append(r.problems, problems...)
	d := f.Deploy
	o := &Options{
		Stack: cmp.Or(d.Stack, DefaultStack), Sources: map[string]Source{}, Targets: map[string]Target{}, Drills: map[string]Drill{},
		Lock: r.lock(d.Immutability), Alarms: d.Alarms, SecretKeys: d.SecretKeys, Reserved: d.Reserved, Boundary: d.Boundary, Tags: d.Tags,
	}
	if !stackName.MatchString(o.Stack) {
		r.wrong("stack: must begin with a letter and be at most 51 letters, digits and -")
	}
	r.sources(f, o)
	r.drills(f, o)
	if d.Mail != nil {
		o.Mail = r.mail(d.Mail.From, d.Mail.Identity, d.Mail.Existing)
	}
	o.API = r.api(f)
	if d.Webhook != nil {
		o.Webhook = &Webhook{r.reference("webhook: url", d.Webhook.URL), r.reference("webhook: key", d.Webhook.Key)}
	}
	if d.Budget != nil {
		o.Budget = r.budget(*d.Budget, len(d.Alarms))
	}
	r.account(o)
	return o
}

func (r *reader) sources(f file, o *Options) {
	for _, name := range sorted(f.Deploy.Sources) {
		s := f.Deploy.Sources[name]
		if _, err := r.config.Source(name); err != nil {
			r.wrong("sources: there is no source %q", name)
		}
		who := "sources: " + name
		w := r.when(who, s.when)
		o.Sources[name] = Source{When: w, Overdue: r.overdue(who, w.Cron, s.Overdue), Key: r.key(who, s.KMSKey)}
	}
	if r.config.Vault.Remote() {
		r.warnings = append(r.warnings, "vault: is for one machine; the stack makes a bucket of its own")
	}
	for _, s := range r.config.Sources {
		if o.Sources[string(s.Name)].Cron == "" {
			r.warnings = append(r.warnings, "the source "+string(s.Name)+" has no schedule: it is backed up only when somebody asks, and is never overdue")
		}
	}
	for _, name := range sorted(f.Deploy.Targets) {
		if _, err := r.config.Target(name); err != nil {
			r.wrong("targets: there is no target %q", name)
		}
		o.Targets[name] = Target{Key: r.key("targets: "+name, f.Deploy.Targets[name].KMSKey)}
	}
}

var drillName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

func (r *reader) drills(f file, o *Options) {
	for _, name := range sorted(f.Deploy.Drills) {
		d, who := f.Deploy.Drills[name], "drills: "+name
		if !drillName.MatchString(name) {
			r.wrong("%s: is no name; use 1 to 40 of a-z, 0-9 and -", who)
		}
		if _, err := r.config.Source(d.Source); err != nil {
			r.wrong("%s: there is no source %q", who, d.Source)
		}
		if _, err := r.config.Target(d.Target); d.Target != "" && err != nil {
			r.wrong("%s: there is no target %q: name one that is there for drills, or none, for a throw-away place in the vault", who, d.Target)
		}
		if d.DryRun && d.Target == "" {
			r.wrong("%s: dry-run needs a target, against which it checks", who)
		}
		w := r.when(who, d.when)
		if w.Cron == "" {
			r.wrong("%s: has no cron", who)
		}
		o.Drills[name] = Drill{When: w, Source: d.Source, Target: d.Target, DryRun: d.DryRun}
	}
}

// when checks a schedule.
func (r *reader) when(who string, w when) When {
	if w.Cron == "" {
		if w.Zone != "" || w.Window != "" {
			r.wrong("%s: has no cron", who)
		}
		return When{}
	}
	fields := strings.Fields(w.Cron)
	_, err := parseCron(w.Cron)
	if err != nil {
		r.wrong("%s: %w", who, err)
	}
	zone, window := cmp.Or(w.Zone, "UTC"), 15*time.Minute
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		r.wrong("%s: there is no time zone %q; write one like Europe/Zurich", who, zone)
	} else if len(fields) == 6 && zone != "UTC" && (fields[1] == "2" || fields[1] == "1") {
		r.warnings = append(r.warnings, who+": where "+zone+" has summer time, EventBridge leaves out a run at an hour that does not exist that day; 4 o'clock exists always")
	}
	if w.Window != "" {
		parsed, ok := parseLength(w.Window)
		if !ok || parsed > 24*time.Hour || parsed < time.Minute {
			r.wrong("%s: window must be 1m to 24h", who)
		}
		window = parsed
	}
	return When{Cron: strings.Join(fields, " "), Zone: zone, Window: window}
}

// overdue is given, or follows from a schedule that runs every day.
func (r *reader) overdue(who, cron, text string) time.Duration {
	if text != "" {
		parsed, ok := parseLength(text)
		if !ok {
			r.wrong("%s: overdue must be a number of hours or days, such as 26h", who)
		}
		return parsed
	}
	fields := strings.Fields(cron)
	if len(fields) != 6 {
		return 0
	}
	if everyDay := strings.Join(fields[2:], " "); everyDay == "* * ? *" || everyDay == "? * * *" {
		return 26 * time.Hour
	}
	r.wrong("%s: does not run every day; say after how long it is overdue: overdue: 8d", who)
	return 0
}

func (r *reader) lock(text string) *Lock {
	if text == "" {
		return nil
	}
	m := lockText.FindStringSubmatch(text)
	if m == nil {
		r.wrong("immutability: must be like 30d governance, or 30d compliance")
		return nil
	}
	days, _ := strconv.Atoi(m[1])
	if days > 36500 {
		r.wrong("immutability: at most 36500d")
	}
	return &Lock{Days: days, Compliance: m[2] == "compliance"}
}

func (r *reader) mail(from, identity string, existing bool) *Mail {
	if !address(from) {
		r.wrong("mail: from must be an address without a name")
		return nil
	}
	_, host, _ := strings.Cut(from, "@")
	identity = cmp.Or(identity, strings.ToLower(host))
	if identity != from && !(domain.MatchString(identity) && (strings.EqualFold(host, identity) || strings.HasSuffix(strings.ToLower(host), "."+identity))) {
		r.wrong("mail: identity must be the address itself, or the domain that it belongs to")
	}
	return &Mail{From: from, Identity: identity, Existing: existing}
}

// mostMailed is how many addresses one notification of a budget reaches.
const mostMailed = 10

func (r *reader) budget(dollars, told int) int {
	if dollars < 1 || dollars > 1_000_000 {
		r.wrong("budget: must be whole US dollars a month, 1 to 1000000")
	}
	if told == 0 || told > mostMailed {
		r.wrong("budget: needs 1 to %d addresses in alarms: they hear of it", mostMailed)
	}
	return dollars
}

func (r *reader) api(f file) API {
	d := f.Deploy.API
	a := API{Issuer: d.Issuer, Audience: d.Audience, ScopePrefix: "backup:"}
	if d.ScopePrefix != nil {
		a.ScopePrefix = *d.ScopePrefix
	}
	u, err := url.Parse(a.Issuer)
	switch {
	case a.Issuer == "" && len(a.Audience) > 0:
		r.wrong("api: has an audience and no issuer")
	case a.Issuer != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != ""):
		r.wrong("api: issuer must be the https URL that the tokens have as iss")
	case a.Issuer != "" && len(a.Audience) == 0:
		r.wrong("api: needs an audience: without one, tokens for any other application of the issuer would do")
	}
	return a
}

func (r *reader) reference(who, text string) secret.Reference {
	scheme, name, _ := strings.Cut(text, ":")
	if name == "" || scheme != "secretsmanager" && scheme != "ssm" {
		r.wrong("%s must be secretsmanager:NAME or ssm:NAME", who)
	}
	return secret.Reference(text)
}

func (r *reader) key(who, arn string) string {
	if arn != "" && !keyARN.MatchString(arn) {
		r.wrong("%s: kms-key must be the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID", who)
	}
	return arn
}

// sorted returns the names of a section in the order of the alphabet.
func sorted[V any](section map[string]V) []string { return slices.Sorted(maps.Keys(section)) }

// account checks what concerns the account as a whole.
func (r *reader) account(o *Options) {
	for _, a := range o.Alarms {
		if !address(a) {
			r.wrong("alarms: must be addresses without names")
		}
	}
	for _, arn := range o.SecretKeys {
		r.key("secret-keys", arn)
	}
	for _, name := range sorted(o.Reserved) {
		if _, known := deployed.Named(name); !known {
			r.wrong("reserved-concurrency: there is no function %q", name)
		}
		if n := o.Reserved[name]; n < 1 || n > 1000 {
			r.wrong("reserved-concurrency: %s must be 1 to 1000", name)
		}
		if name == "copy" && o.Reserved[name] < mapConcurrency {
			r.wrong("reserved-concurrency: copy needs %d at least, which is how many batches run at the same time", mapConcurrency)
		}
	}
	if o.Boundary != "" && !policyARN.MatchString(o.Boundary) {
		r.wrong("permissions-boundary: must be the ARN of a policy")
	}
	for key, text := range o.Tags {
		if key == "" || len(key) > 128 || len(text) > 256 || strings.HasPrefix(strings.ToLower(key), "aws:") {
			r.wrong("tags: %.40q is none that AWS takes", key)
		}
	}
}

// mapConcurrency is the MaxConcurrency of the workflows' Maps; a test compares it with them.
const mapConcurrency = 40
