package deployment

import (
	"slices"
	"strings"

	"lifeboat/internal/config"
)

// Output is what the stack says when it is deployed: a command to paste, or what a command wants.
type Output struct {
	Name string `json:"name"`
	Says string `json:"says"`
}

// outputs are those of every stack, by their whole names.
var outputs = []Output{
	{"StartBackupCommand", "start a backup: put an id of its own and the source into the file"},
	{"StartRestoreCommand", "start a restore"},
	{"ListBackupsCommand", "the records of all backups"},
	{"GetArchivesCommand", "fetch all archives"},
	{"FetchCommand", "read the vault on another machine: vault: of a lifeboat.yaml"},
	{"SigningKeyCommand", "keep a copy of this elsewhere: backups are signed with what derives from it"},
	{"UndeliveredCommand", "what could not be started"},
	{"UnclosedCommand", "events about runs that reached nobody"},
	{"UnansweredCommand", "events that a function could not answer"},
	{"LongLinkCommand", "sign a URL of an archive that lives longer than a quarter of an hour, as this role"},
	{"LinksCommand", "where the links of mails lead"},
	{"MachinesCommand", "the API for machines: requests are signed for execute-api"},
	{"TopicCommand", "who hears of failures"},
}

// Outputs returns what the stack will say.
func (o *Options) Outputs() []Output {
	all := append(slices.Clone(outputs), Output{"OperatorsCommand", "let a role use the stack: lifeboat --stack " + o.Stack})
	if o.API.Issuer != "" {
		all = append(all, Output{"APICommand", "the API for people, who come with tokens of " + o.API.Issuer})
	}
	for _, s := range o.Config.Sources {
		all = appendPolicy(all, "Source"+ID(string(s.Name)), s.Datasource.Bucket)
	}
	for _, t := range o.Config.Targets {
		all = appendPolicy(all, "Target"+ID(t.Name), t.Datasource.Bucket)
	}
	if o.Mail == nil {
		return all
	}
	all = append(all, Output{"MailSandboxCommand", "false: mail reaches confirmed addresses only, until AWS lets the account out of the sandbox"})
	if !o.Mail.Existing && !strings.Contains(o.Mail.Identity, "@") { // an address is confirmed by a mail to it
		all = append(all, Output{"MailRecordsCommand", "CNAME records of the sender's domain: NAME._domainkey, to NAME.dkim.amazonses.com, for each NAME"})
	}
	return all
}

// appendPolicy appends what the owner of a bucket must allow where that is another account: a policy of the bucket, or of
// the role that is assumed to reach it. b may be nil.
func appendPolicy(all []Output, id string, b *config.Bucket) []Output {
	switch {
	case b == nil:
		return all
	case b.Role != "":
		return append(all, Output{id + "TrustPolicyCommand", "the trust policy of " + b.Role + ", which reaches the bucket " + b.Name})
	case !ReachedByRole(b):
		return all
	}
	return append(all, Output{id + "PolicyCommand", "the policy of the bucket " + b.Name + ", where it belongs to another account, which owner: in lifeboat.yaml must name"})
}

// ReachedByRole reports whether a bucket is one of AWS that the roles of the stack reach themselves.
func ReachedByRole(b *config.Bucket) bool {
	return b.Endpoint == "" && b.AccessKey == "" && b.Role == ""
}

// Output returns one of Outputs, by name.
func (o *Options) Output(name string) (Output, bool) {
	for _, out := range o.Outputs() {
		if out.Name == name {
			return out, true
		}
	}
	return Output{}, false
}
