package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"lifeboat/infra/stack"
)

// reasons are the findings of cdk-nag that stand, and why.
var reasons = []struct {
	rule, reason string
	about        []string // regular expressions of the findings of the rule that stand; empty for all
	at           []string // the constructs that it stands for; empty for all
}{
	{
		rule: "AwsSolutions-SQS3", reason: "a dead-letter queue needs none itself",
		at: []string{"UndeliveredSchedules", "UndeliveredEvents", "UnansweredEvents"},
	},
	{
		rule: "AwsSolutions-APIG4", reason: "the links of mails: the token in the path lets through, and only POST makes a URL of it; TestRoutes lists what is open",
		at: []string{"PublicGetLToken", "PublicPostLToken", "PublicGetAssetsName"},
	},
	{
		rule: "AwsSolutions-SMG4", reason: "what is signed with, and what links derive from, must not change by itself: backups and mails that are out there would be worth nothing; docs/runbook.md says how to rotate",
		at: []string{"SigningKey", "LinkKey"},
	},
	{
		rule: "AwsSolutions-IAM5", reason: "keys below a prefix of a bucket are made at run time; golden_test.go lists all of them",
		about: []string{`/^Resource::<Vault[0-9A-F]{8}\.Arn>\/[a-z]+\/([a-z]+\/|\*\/\*\/work\/)?\*$/`, `/^Resource::arn:<AWS::Partition>:s3:::[a-z0-9.-]+\/(.+\/)?\*$/`},
	},
	{
		rule: "AwsSolutions-IAM5", reason: "executions of the two machines are made at run time",
		about: []string{`/^Resource::arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<(Backup|Restore)Machine[0-9A-F]{8}\.Name>(\/(PackMany|PutMany))?:\*$/`},
	},
	{
		rule: "AwsSolutions-IAM5", reason: "in the sandbox SES asks about the identities of recipients, too; the condition names the one sender",
		about: []string{`/^Resource::arn:<AWS::Partition>:ses:<AWS::Region>:<AWS::AccountId>:identity\/\*$/`},
	},
	{
		rule: "AwsSolutions-IAM5", reason: "tracing and the delivery of a state machine's logs have no resources; TestNarrow lists the actions",
		about: []string{`/^Resource::\*$/`},
	},
}

// TestNag holds the stack against the rules AwsSolutions of cdk-nag: a finding makes the synthesis fail, which prints it.
func TestNag(t *testing.T) {
	props, err := properties(t.TempDir(), "testdata/lifeboat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app := awscdk.NewApp(&awscdk.AppProps{
		Outdir: jsii.String(filepath.Join(props.Work, "cdk.out")), AnalyticsReporting: jsii.Bool(false), Context: flags(),
	})
	s := stack.New(app, props)
	for _, r := range reasons {
		suppression := &cdknag.NagPackSuppression{Id: jsii.String(r.rule), Reason: jsii.String(r.reason)}
		var about []any
		for _, regex := range r.about {
			about = append(about, &cdknag.RegexAppliesTo{Regex: jsii.String(regex)})
		}
		if about != nil {
			suppression.AppliesTo = &about
		}
		list := &[]*cdknag.NagPackSuppression{suppression}
		for _, id := range r.at {
			cdknag.NagSuppressions_AddResourceSuppressions(s.Node().FindChild(jsii.String(id)), list, jsii.Bool(true))
		}
		if len(r.at) == 0 {
			cdknag.NagSuppressions_AddStackSuppressions(s, list, jsii.Bool(true))
		}
	}
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Verbose: jsii.Bool(true)}), nil)
	defer func() {
		if value := recover(); value != nil {
			t.Errorf("cdk-nag has findings, see above: %v", value)
		}
	}()
	app.Synth(nil)
	unneeded(t, filepath.Join(props.Work, "cdk.out"))
}

// unneeded reports reasons that no finding needs: the report of cdk-nag lists every rule on every construct.
func unneeded(t *testing.T, folder string) {
	t.Helper()
	reports, err := filepath.Glob(filepath.Join(folder, "AwsSolutions-*-NagReport.csv"))
	if err != nil || len(reports) != 1 {
		t.Fatalf("the report of cdk-nag: %v, %v", reports, err)
	}
	data, err := os.ReadFile(reports[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reasons {
		if !strings.Contains(string(data), r.reason) {
			t.Errorf("no finding of %s needs the reason %q", r.rule, r.reason)
		}
		for _, id := range r.at {
			if !regexp.MustCompile(`"` + r.rule + `[^"]*","[^"]*/` + id + `[/"][^\n]*"Suppressed"`).Match(data) {
				t.Errorf("%s has no finding of %s", id, r.rule)
			}
		}
	}
}
