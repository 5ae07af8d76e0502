package deployed

import (
	"net/url"
	"strings"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
	"lifeboat/internal/secret"
)

// Place is where functions run.
type Place struct {
	VaultBucket string // the stack's own; "" while nobody knows its name
	Loopback    bool   // the functions are processes of one machine, in a test
}

// Fit refuses, by name, what of a configuration can't run there: one Usage error for each thing.
func (p Place) Fit(c *config.Config) []error {
	var refused []error
	for _, s := range c.Sources {
		refused = append(refused, p.Source(s)...)
	}
	for _, t := range c.Targets {
		refused = append(refused, p.Target(t)...)
	}
	return append(refused, p.Mail(c.Mail)...)
}

// Mail refuses a mail server that can't be reached there; m may be nil.
func (p Place) Mail(m *config.Mail) []error {
	const what = "mail: {smtp: …}"
	if m == nil {
		return nil
	}
	refused := fitSecret(what, m.SMTP, false)
	if why := p.unreached(string(m.SMTP)); m.SMTP.Bare() && why != "" {
		u, _ := url.Parse(string(m.SMTP)) // without its password
		refused = append(refused, unfit("%s is at %s: %s", what, u.Host, why).
			WithHint("name a mail server that the internet reaches, or leave mail out and let mail leave through SES: deploy: {mail: {from: …}}"))
	}
	return refused
}

// Source refuses what of a source can't be read there.
func (p Place) Source(s config.Source) []error {
	who := "the source " + string(s.Name)
	elsewhere := "or back it up with `lifeboat backup " + string(s.Name) + "` on its own machine, and leave it out of the file that is deployed"
	refused := p.instance(who, s.Instance, elsewhere)
	if len(s.ConfigFiles) > 0 {
		refused = append(refused, unfit("%s has config-files: no function of AWS reads %s", who, s.ConfigFiles[0]).
			WithHint("leave out config-files, %s", elsewhere))
	}
	return refused
}

// Target refuses what of a target can't be written there.
func (p Place) Target(t config.Target) []error {
	return p.instance("the target "+t.Name, t.Instance,
		"or restore with `lifeboat restore` on its own machine, and leave it out of the file that is deployed")
}

// Bucket refuses a bucket that a restore names itself, where it can't be written there.
func (p Place) Bucket(b config.Bucket) []error {
	return p.bucket("the restore to "+b.String(), b, "or restore with `lifeboat restore` on a machine that reaches it")
}

func unfit(format string, args ...any) *failure.Error {
	return failure.New(failure.Usage, format, args...)
}

func (p Place) instance(who string, i config.Instance, elsewhere string) []error {
	var refused []error
	if i.Datasource.Folder != "" {
		refused = append(refused, unfit("%s has its files in the folder %s, which no function of AWS reaches", who, i.Datasource.Folder).
			WithHint("keep its files in a bucket (s3://…), %s", elsewhere))
	}
	if why := p.unreached(i.URL); why != "" {
		refused = append(refused, unfit("%s is at %s: %s", who, i.URL, why).
			WithHint("name an address that the internet reaches (https, behind a proxy or a tunnel of yours), %s", elsewhere))
	}
	if i.Token != "" {
		refused = append(refused, fitSecret(who+": its token", i.Token, true)...)
	}
	if i.Datasource.Bucket != nil {
		refused = append(refused, p.bucket(who, *i.Datasource.Bucket, elsewhere)...)
	}
	return refused
}

func (p Place) bucket(who string, b config.Bucket, elsewhere string) []error {
	var refused []error
	if why := p.unreached(b.Endpoint); why != "" {
		refused = append(refused, unfit("%s has its files at %s: %s", who, b.Endpoint, why).
			WithHint("name an endpoint that the internet reaches, %s", elsewhere))
	}
	if b.Profile != "" {
		refused = append(refused, unfit("%s reaches its bucket with the profile %s, which no function of AWS has", who, b.Profile).
			WithHint("leave out profile: and let the stack's roles read the bucket, or give access-key and secret-key by reference"))
	}
	if b.Name == p.VaultBucket && b.Endpoint == "" && p.VaultBucket != "" {
		refused = append(refused, unfit("%s has its files in %s, the vault of the stack", who, b.Name).WithHint("use another bucket"))
	}
	if b.AccessKey != "" {
		refused = append(refused, fitSecret(who+": its access-key", b.AccessKey, true)...)
		refused = append(refused, fitSecret(who+": its secret-key", b.SecretKey, true)...)
	}
	if !b.ExternalID.Bare() { // in the file itself it may stand: it is no secret
		refused = append(refused, fitSecret(who+": its external-id", b.ExternalID, true)...)
	}
	return refused
}

// fitSecret refuses a reference that nothing resolves in a function, and a secret that stands in the file itself: the
// file is stored where whoever may see the stack's assets reads it.
func fitSecret(what string, r secret.Reference, whole bool) []error {
	const hint = "store it in Secrets Manager or as a SecureString, and write secretsmanager:NAME or ssm:NAME"
	scheme, _, _ := strings.Cut(string(r), ":")
	switch {
	case r.Bare() && (whole || strings.Contains(string(r), "@")):
		return []error{unfit("%s stands in the configuration itself", what).WithHint(hint)}
	case !r.Bare() && (scheme == "env" || scheme == "file"):
		return []error{unfit("%s is %s, which no function of AWS has", what, r).WithHint(hint)}
	}
	return nil
}

// unreached says why a function does not reach a URL, in words; "" where it may. The stack has no VPC: its functions reach
// public addresses only.
func (p Place) unreached(text string) string {
	u, err := url.Parse(text)
	if text == "" || err != nil || p.Loopback || u.Hostname() == "" {
		return ""
	}
	what, self := netguard.Outside(u.Hostname())
	switch {
	case self:
		return "in a function of AWS that is the function itself"
	case what != "":
		return what + ", which no function of AWS reaches"
	}
	return ""
}

// Issuer refuses an issuer of tokens whose keys nobody in AWS can fetch.
func (p Place) Issuer(issuer string) []error {
	why := p.unreached(issuer)
	if why == "" {
		return nil
	}
	return []error{unfit("deploy.api.issuer is at %s: %s", issuer, why).
		WithHint("name an issuer that the internet reaches, whose tokens people have; or leave api out: machines come by IAM")}
}

// Links refuses an address that leads nobody to the stack: public is what the file says itself, not what follows from where
// `lifeboat serve` listens.
func (p Place) Links(public string) []error {
	const hint = "leave public-url out of the file that is deployed: links lead to the API's own address then; or name the https address of a domain that you put before it"
	u, err := url.Parse(public)
	if public == "" || err != nil || p.Loopback {
		return nil
	}
	what, self := netguard.Outside(u.Hostname())
	switch {
	case self:
		what = "on the machine of whoever opens a link, that is their own"
	case what != "":
		what += ", which leads nobody to the stack"
	case u.Scheme != "https":
		what = "the API is there by https only"
	default:
		return nil
	}
	return []error{unfit("serve.public-url is %s, where the links of mails would lead: %s", public, what).WithHint(hint)}
}
