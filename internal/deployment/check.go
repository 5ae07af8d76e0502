package deployment

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// reader collects what is wrong with a section.
type reader struct {
	config   *config.Config // nil where the rest of the file is wrong
	now      time.Time
	lines    map[string]int   // of the file's keys, by path: deploy.sources.photos
	shapes   []config.Problem // of the whole file, found by package config
	problems []config.Problem
	warnings []string
}

// wrong notes what is wrong with a key of the section, "sources.photos.cron", or with the section itself, "". Where its
// shape is wrong already, there or below, nothing is noted: it would follow from that.
func (r *reader) wrong(path, format string, args ...any) {
	at := strings.TrimSuffix("deploy."+path, ".")
	if !r.misshapen(path) {
		r.problems = append(r.problems, config.Problem{Line: r.line(at), Message: at + " " + fmt.Sprintf(format, args...)})
	}
}

// misshapen reports whether package config has found something at a key of the section, or below.
func (r *reader) misshapen(path string) bool {
	at := strings.TrimSuffix("deploy."+path, ".")
	return slices.ContainsFunc(r.shapes, func(p config.Problem) bool {
		rest, found := strings.CutPrefix(p.Message, at)
		return found && (rest == "" || strings.ContainsAny(rest[:1], " .["))
	})
}

// misspelled reports whether a key of the section is unknown and seems to mean this one.
func (r *reader) misspelled(key string) bool {
	return slices.ContainsFunc(r.shapes, func(p config.Problem) bool {
		name, unknown := strings.CutSuffix(p.Message, fmt.Sprintf(" is not a key that lifeboat knows; did you mean %q?", key))
		return unknown && strings.HasPrefix(name, "deploy.")
	})
}

// line returns the line of a key, or of the nearest one that holds it.
func (r *reader) line(path string) int {
	for {
		if line := r.lines[path]; line > 0 {
			return line
		}
		i := strings.LastIndexByte(path, '.')
		path = path[:max(i, 0)]
	}
}

func (r *reader) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// names returns the names of a section outside of deploy, also where they are wrong otherwise.
func (r *reader) names(section string) []string {
	var names []string
	for path := range r.lines {
		if name, found := strings.CutPrefix(path, section+"."); found && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// known refuses a name that a section outside of deploy has not.
func (r *reader) known(path, what, name string) {
	names := r.names(what + "s")
	if slices.Contains(names, name) {
		return
	}
	hint := "there are none"
	if best := config.Closest(name, names); best != "" {
		hint = fmt.Sprintf("did you mean %q?", best)
	} else if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	r.wrong(path, "names the %s %q, which the file does not have; %s", what, name, hint)
}

// fit refuses what of the rest of the file can't run in a function.
func (r *reader) fit() {
	if r.config == nil {
		return
	}
	place := deployed.Place{}
	for _, s := range r.config.Sources {
		r.refuse("sources."+string(s.Name), place.Source(s))
		r.open("source "+string(s.Name), s.Instance)
		r.granted("sources."+string(s.Name), "source "+string(s.Name), s.Instance)
	}
	for _, t := range r.config.Targets {
		r.refuse("targets."+t.Name, place.Target(t))
		r.open("target "+t.Name, t.Instance)
		r.granted("targets."+t.Name, "target "+t.Name, t.Instance)
	}
	r.refuse("mail", place.Mail(r.config.Mail))
	if r.lines["serve.public-url"] > 0 { // where nothing is said it follows from where `lifeboat serve` listens
		r.refuse("serve.public-url", place.Links(r.config.Serve.PublicURL))
	}
}

// refuse notes what package deployed refuses of a key of the file.
func (r *reader) refuse(path string, refused []error) {
	for _, err := range refused {
		r.problems = append(r.problems, config.Problem{Line: r.line(path), Message: err.Error(), Hint: failure.HintOf(err)})
	}
}

// open warns of a token that everybody on the way can read.
func (r *reader) open(who string, i config.Instance) {
	if strings.HasPrefix(i.URL, "http://") && i.Token != "" {
		r.warn("the %s is at %s: its token and its files cross the internet unencrypted; use https", who, i.URL)
	}
}

func (r *reader) options(section []byte) *Options {
	f := r.decode(section)
	d := f.Deploy
	o := &Options{
		Stack: cmp.Or(d.Stack, DefaultStack), Sources: map[string]Source{}, Targets: map[string]Target{}, Drills: map[string]Drill{},
		Lock: r.lock(d.Immutability), Alarms: d.Alarms, SecretKeys: d.SecretKeys, Reserved: d.Reserved, Boundary: d.Boundary, Tags: d.Tags,
	}
	if !stackName.MatchString(o.Stack) {
		r.wrong("stack", "must begin with a letter and be at most 51 letters, digits and -")
	}
	r.sources(f, o)
	r.drills(f, o)
	if d.Mail != nil {
		o.Mail = r.mail(d.Mail.From, d.Mail.Identity, d.Mail.Existing)
	}
	o.API = r.api(f)
	if d.Webhook != nil {
		o.Webhook = &Webhook{r.reference("webhook.url", d.Webhook.URL), r.reference("webhook.key", d.Webhook.Key)}
	}
	if d.Budget != nil {
		o.Budget = r.budget(*d.Budget, len(d.Alarms))
	}
	r.account(o)
	r.heard(o)
	return o
}

func (r *reader) sources(f file, o *Options) {
	for _, name := range sorted(f.Deploy.Sources) {
		s, path := f.Deploy.Sources[name], "sources."+name
		r.known(path, "source", name)
		w, gap := r.when(path, s.when)
		o.Sources[name] = Source{When: w, Overdue: r.overdue(path, w, gap, s.Overdue), Key: r.key(path+".kms-key", s.KMSKey)}
	}
	for _, name := range sorted(f.Deploy.Targets) {
		r.known("targets."+name, "target", name)
		o.Targets[name] = Target{Key: r.key("targets."+name+".kms-key", f.Deploy.Targets[name].KMSKey)}
	}
	if r.config == nil {
		return
	}
	if r.config.Vault.Remote() {
		r.warn("vault: is for one machine; the stack makes a bucket of its own")
	}
	r.idle(o)
}

func (r *reader) drills(f file, o *Options) {
	for _, name := range sorted(f.Deploy.Drills) {
		d, path := f.Deploy.Drills[name], "drills."+name
		if d.Source == "" {
			r.wrong(path, "needs a source, whose newest backup it restores")
		} else {
			r.known(path+".source", "source", d.Source)
		}
		if d.Target != "" {
			r.known(path+".target", "target", d.Target)
			r.drilled(path, d.Target, d.DryRun)
		}
		if d.DryRun && d.Target == "" {
			r.wrong(path, "needs a target for its dry-run, against which it checks")
		}
		w, _ := r.when(path, d.when)
		if d.Cron == "" {
			r.wrong(path, "has no cron")
		}
		o.Drills[name] = Drill{When: w, Source: d.Source, Target: d.Target, DryRun: d.DryRun}
	}
}

// drilled refuses a target of a drill that is a source: each drill would write into what is backed up.
func (r *reader) drilled(path, name string, dry bool) {
	if r.config == nil || dry {
		return
	}
	t, err := r.config.Target(name)
	if err != nil {
		return // it was said
	}
	for _, s := range r.config.Sources {
		if what := t.Shares(s.Instance); what != "" {
			r.wrong(path+".target", "is %s, which has %s as the source %s: each drill would write into what is backed up. "+
				"Name a target that is there for drills only, or none, for a throw-away place in the vault", name, what, s.Name)
			return
		}
	}
	if !strings.Contains(name, "drill") {
		r.warn("deploy.%s.target: each drill writes into %s; restore nothing else there, and give it a name that says so, such as %s-drill", path, name, name)
	}
}

// oddLock is from how many days on a lock that nobody can undo is probably a slip.
const oddLock = 3650

func (r *reader) lock(text string) *Lock {
	if text == "" {
		return nil
	}
	l, err := vault.ParseLock(text)
	if err != nil {
		r.wrong("immutability", "must be like 30d governance, or 30d compliance")
		return nil
	}
	if l.Most() > vault.Longest {
		r.wrong("immutability", "is too long: with its spare tenth a lock may have %d days at most", vault.Longest)
	} else if l.Days > oddLock && l.Compliance {
		r.warn("immutability: for %d days, %d years, nobody can delete what a backup needs, not even AWS, and you pay for it; it can't be undone or shortened once a backup was made", l.Days, l.Days/365)
	}
	return &l
}

func (r *reader) mail(from, identity string, existing bool) *Mail {
	if !address(from) {
		r.wrong("mail.from", "must be an address without a name")
		return nil
	}
	_, host, _ := strings.Cut(from, "@")
	identity = cmp.Or(identity, strings.ToLower(host))
	if identity != from && !(domain.MatchString(identity) && (strings.EqualFold(host, identity) || strings.HasSuffix(strings.ToLower(host), "."+identity))) {
		r.wrong("mail.identity", "must be the address itself, or the domain that it belongs to")
	}
	return &Mail{From: from, Identity: identity, Existing: existing}
}

// mostMailed is how many addresses one notification of a budget reaches.
const mostMailed = 10

func (r *reader) budget(dollars, told int) int {
	if dollars < 1 || dollars > 1_000_000 {
		r.wrong("budget", "must be whole US dollars a month, 1 to 1000000")
	}
	if (told == 0 || told > mostMailed) && !r.misshapen("alarms") && !r.misspelled("alarms") {
		r.wrong("budget", "needs 1 to %d addresses in alarms: they hear of it", mostMailed)
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
		r.wrong("api", "has an audience and no issuer")
	case a.Issuer != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != ""):
		r.wrong("api.issuer", "must be the https URL that the tokens have as iss")
	case a.Issuer != "" && len(a.Audience) == 0:
		r.wrong("api", "needs an audience: without one, tokens for any other application of the issuer would do")
	default:
		r.refuse("deploy.api.issuer", deployed.Place{}.Issuer(a.Issuer))
	}
	if !scopePrefix.MatchString(a.ScopePrefix) {
		r.wrong("api.scope-prefix", `must be at most 57 characters of what scopes are made of: ASCII without spaces, " and \`)
	}
	return a
}

func (r *reader) reference(path, text string) secret.Reference {
	scheme, name, _ := strings.Cut(text, ":")
	if name == "" || scheme != "secretsmanager" && scheme != "ssm" {
		r.wrong(path, "must be secretsmanager:NAME or ssm:NAME")
	}
	return secret.Reference(text)
}

func (r *reader) key(path, arn string) string {
	if arn != "" && !keyARN.MatchString(arn) {
		r.wrong(path, "must be the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID")
	}
	return arn
}

// sorted returns the names of a section in the order of the alphabet.
func sorted[V any](section map[string]V) []string { return slices.Sorted(maps.Keys(section)) }

// account checks what concerns the account as a whole.
func (r *reader) account(o *Options) {
	for i, a := range o.Alarms {
		switch first := slices.IndexFunc(o.Alarms, func(b string) bool { return strings.EqualFold(a, b) }); {
		case !address(a):
			r.wrong("alarms", "must be addresses without names; the %s is none", ordinal(i+1))
		case first < i:
			r.wrong("alarms", "names %s twice", a)
		}
	}
	for _, arn := range o.SecretKeys {
		r.key("secret-keys", arn)
	}
	for _, name := range sorted(o.Reserved) {
		if _, known := deployed.Named(name); !known {
			r.wrong("reserved-concurrency", "names the function %q, which the stack does not have; %s", name, functions(name))
		}
		if n := o.Reserved[name]; n < 1 || n > 1000 {
			r.wrong("reserved-concurrency", "must be 1 to 1000 for %s", name)
		}
		if name == "copy" && o.Reserved[name] < mapConcurrency {
			r.wrong("reserved-concurrency", "is too small: copy needs %d at least, which is how many batches run at the same time", mapConcurrency)
		}
	}
	if o.Boundary != "" && !policyARN.MatchString(o.Boundary) {
		r.wrong("permissions-boundary", "must be the ARN of a policy")
	}
	r.tags(o.Tags)
}

// functions says which functions there are.
func functions(wrong string) string {
	var names []string
	for _, f := range deployed.Functions {
		names = append(names, f.Name)
	}
	if best := config.Closest(wrong, names); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "there are " + strings.Join(names, ", ")
}

func ordinal(n int) string {
	if names := []string{"first", "second", "third"}; n <= len(names) {
		return names[n-1]
	}
	return fmt.Sprintf("%dth", n)
}

// mapConcurrency is the MaxConcurrency of the workflows' Maps; a test compares it with them.
const mapConcurrency = 40
