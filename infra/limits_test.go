package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lifeboat/internal/deployment"
)

// crowd is a configuration of many sources, targets and drills. NNN in what is said of a source is its number.
type crowd struct {
	sources, targets, drills int
	source, when             string
	deploy                   string // lines of the section
}

// Sources of a crowd, and what the section says of them.
const (
	plainSource   = "{kind: zipline, url: \"https://sNNN.example.com\", token: \"secretsmanager:zipline-NNN\", datasource: s3://example-sNNN/uploads}"
	ownedSource   = "{kind: zipline, url: \"https://sNNN.example.com\", token: \"secretsmanager:zipline-NNN\", datasource: {s3: \"s3://example-sNNN/uploads\", owner: \"111122223NNN\"}}"
	keysSource    = "{kind: files, path: {s3: s3://example-sNNN/files, endpoint: https://store.example.org, region: eu-north-1, access-key: ssm:/lifeboat/access-NNN, secret-key: ssm:/lifeboat/secret-NNN}}"
	roleSource    = "{kind: files, path: {s3: s3://example-sNNN/2026, role: \"arn:aws:iam::444455556666:role/lifeboat-NNN\", external-id: lifeboat-7f3e9a2c}}"
	longSource    = "{kind: zipline, url: \"https://sNNN.example.com\", token: \"ssm:/a/folder/of/many/parameters/of/several/applications/zipline-NNN\", datasource: s3://example-of-a-bucket-with-a-rather-long-name-sNNN/a/prefix/that/is/long/too}"
	daily         = "{cron: \"0 4 * * ? *\", zone: Europe/Zurich}"
	dailyKey      = "{cron: \"0 4 * * ? *\", zone: Europe/Zurich, kms-key: \"arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555NNN\"}"
	targetOfDrill = "{kind: zipline, url: \"https://tNNN.example.com\", token: \"secretsmanager:zipline-tNNN\", datasource: s3://example-tNNN/uploads}"
)

func (c crowd) text() string {
	var file, deploy strings.Builder
	list := func(b *strings.Builder, indent, section, prefix, text string, n int) {
		if n > 0 {
			fmt.Fprintf(b, "%s%s:\n", indent, section)
		}
		for i := range n {
			number := fmt.Sprintf("%03d", i)
			fmt.Fprintf(b, "%s  %s%s: %s\n", indent, prefix, number, strings.ReplaceAll(text, "NNN", number))
		}
	}
	file.WriteString("vault: ./v\n")
	list(&file, "", "sources", "s", c.source, c.sources)
	list(&file, "", "targets", "t", targetOfDrill, c.targets)
	list(&deploy, "  ", "sources", "s", c.when, c.sources)
	list(&deploy, "  ", "drills", "d", `{source: sNNN, cron: "0 6 ? * SUN *", zone: Europe/Zurich}`, c.drills)
	return file.String() + "deploy:\n" + c.deploy + deploy.String()
}

// TestLimits holds what package deployment counts beforehand, and refuses, against templates: resources and outputs are
// right; of policies and bytes it says no fewer than there are, and not many more.
func TestLimits(t *testing.T) {
	const all = "  mail: {from: a@example.com}\n  alarms: [a@example.com, b@example.com]\n  budget: 5\n  api: {issuer: \"https://login.example.com\", audience: [a]}\n" +
		"  immutability: 30d governance\n  webhook: {url: ssm:/hook, key: ssm:/key}\n  tags: {a: b, \"a longer key\": \"and a longer value\"}\n" +
		"  secret-keys: [\"arn:aws:kms:eu-central-1:123456789012:key/99999999-2222-3333-4444-555555555555\"]\n"
	for name, c := range map[string]crowd{
		"one with all":                {sources: 1, source: plainSource, when: daily, deploy: all},
		"many":                        {sources: 120, source: plainSource, when: daily},
		"many owners":                 {sources: 90, source: ownedSource, when: dailyKey},
		"elsewhere":                   {sources: 80, source: keysSource, when: daily},
		"roles":                       {sources: 80, source: roleSource, when: daily},
		"long names":                  {sources: 80, source: longSource, when: dailyKey},
		"sources, targets and drills": {sources: 40, targets: 60, drills: 40, source: plainSource, when: daily, deploy: all},
	} {
		t.Run(name, func(t *testing.T) {
			o, made := c.synthesized(t)
			said, policies := o.Size(), managedPolicies(made)
			t.Logf("resources %d, said %d; outputs %d, said %d; bytes %d, said %d; policies %v, said %v",
				len(made.Resources), said.Resources, len(made.Outputs), said.Outputs, len(made.text), said.Template, policies, said.Policies)
			more := 0 // policies that are said and not made
			for _, function := range []string{"export", "copy", "restore", "notify", "package", "api", "start"} {
				n, m := said.Policies[function], policies[deployment.ID(function)+"Role"]
				if n < m || n > m+1+m/5 {
					t.Errorf("%d policies of %s are said, and %d are made", n, function, m)
				}
				more += n - m
			}
			if said.Resources-more != len(made.Resources) || said.Outputs != len(made.Outputs) {
				t.Errorf("%d resources, %d policies too many among them, and %d outputs are said; %d and %d are made",
					said.Resources, more, said.Outputs, len(made.Resources), len(made.Outputs))
			}
			if said.Template < len(made.text) || said.Template > len(made.text)*5/4 {
				t.Errorf("%d bytes are said, and %d are made", said.Template, len(made.text))
			}
		})
	}
}

func (c crowd) synthesized(t *testing.T) (*deployment.Options, template) {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "lifeboat.yaml")
	if err := os.WriteFile(path, []byte(c.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := deployment.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	made, err := synthesized(folder, path)
	if err != nil {
		t.Fatal(err)
	}
	return o, made
}

// managedPolicies counts the managed policies of each role.
func managedPolicies(made template) map[string]int {
	all := map[string]int{}
	for _, id := range made.of("AWS::IAM::ManagedPolicy") {
		for _, role := range texts(made.Resources[id].Properties["Roles"]) {
			if role != "<nil>" { // attached to nobody: that of who uses the stack
				all[strings.Trim(role, "${}")]++
			}
		}
	}
	return all
}

// TestOwnTags: no tag that the stack sets itself can be set to something else.
func TestOwnTags(t *testing.T) {
	own := map[string]bool{}
	for _, tag := range list(made.one("AWS::S3::Bucket", "Vault").Properties["Tags"]) {
		own[text(at(tag, "Key"))] = true
	}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(own)), func(key string) bool { return strings.HasPrefix(key, "aws") })
	if !slices.Equal(keys, []string{deployment.StackTag, deployment.ServiceTag}) {
		t.Errorf("the stack sets the tags %v", keys)
	}
}
