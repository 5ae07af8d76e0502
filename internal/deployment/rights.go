package deployment

import (
	"slices"
	"strings"

	"lifeboat/internal/config"
	"lifeboat/internal/lambdafn/deployed"
)

func (o *Options) functions() []Function {
	var all []Function
	for _, f := range deployed.Functions {
		all = append(all, Function{f.Name, f.Says, f.Memory, Length(f.Timeout), o.Reserved[f.Name], o.may(f)})
	}
	return all
}

// verbs are the actions on the vault that are worth a word.
var verbs = []struct{ action, verb string }{{"s3:GetObject", "reads"}, {"s3:PutObject", "writes"}, {"s3:DeleteObject", "deletes"}, {"s3:PutObjectRetention", "locks"}}

// may says what a function may touch.
func (o *Options) may(f deployed.Function) []string {
	var all []string
	for _, v := range verbs {
		if deployed.Locks(v.action) && o.Lock == nil {
			continue
		}
		var prefixes []string
		for _, g := range f.Vault {
			if g.Action == v.action && !slices.Contains(prefixes, g.Prefix) {
				prefixes = append(prefixes, g.Prefix)
			}
		}
		if len(prefixes) > 0 {
			all = append(all, v.verb+" in the vault "+strings.Join(prefixes, ", "))
		}
	}
	takes := func(variable string) bool {
		return slices.Contains(f.Required, variable) || slices.Contains(f.Optional, variable)
	}
	if f.Sources {
		for _, s := range o.Config.Sources {
			all = append(all, reaches("reads", "source "+string(s.Name), s.Instance))
		}
	}
	if f.Targets {
		for _, t := range o.Config.Targets {
			all = append(all, reaches("writes", "target "+t.Name, t.Instance))
		}
	}
	for _, c := range []struct{ variable, says string }{
		{"LIFEBOAT_SIGNING_KEY", "reads the signing key"},
		{"LIFEBOAT_LINK_KEY", "reads the key of links"},
		{"LIFEBOAT_BACKUP_MACHINE", "starts backups"},
		{"LIFEBOAT_RESTORE_MACHINE", "starts restores"},
	} {
		if takes(c.variable) {
			all = append(all, c.says)
		}
	}
	if slices.Contains(f.MAC, deployed.MakeMAC) {
		all = append(all, "makes the MACs of manifests")
	} else if len(f.MAC) > 0 {
		all = append(all, "checks the MACs of manifests")
	}
	if takes("LIFEBOAT_MAIL") && o.Mail != nil {
		all = append(all, "sends mail as "+o.Mail.From)
	}
	if takes("LIFEBOAT_WEBHOOK") && o.Webhook != nil {
		all = append(all, "reads the webhook's address and key, and calls it")
	}
	return all
}

// reaches says how an application is reached. All of its secrets are among the secrets.
func reaches(verb, who string, i config.Instance) string {
	text := verb + " the " + who
	if i.URL != "" {
		text += " at " + i.URL
	}
	b := i.Datasource.Bucket
	switch {
	case b == nil:
		return text
	case b.Role != "":
		return text + ", bucket " + b.String() + " as " + b.Role
	case b.Endpoint != "":
		return text + ", bucket " + b.String() + " at " + b.Endpoint + " with keys of its own"
	case b.AccessKey != "":
		return text + ", bucket " + b.String() + " with keys of its own"
	}
	return text + ", bucket " + b.String()
}
