package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/deployment"
)

// TestFacts holds what `lifeboat deploy --print` says against the template: the same things, as many of them, and the
// same numbers.
func TestFacts(t *testing.T) {
	o, err := deployment.Load("testdata/lifeboat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkFacts(t, "as it is", o, made)
}

// TestFactsOfLittle: the same of a stack that has nothing optional.
func TestFactsOfLittle(t *testing.T) {
	const little = "vault: ./vault\nsources:\n  papers: {kind: files, path: s3://example-papers}\n"
	o, err := deployment.Parse("lifeboat.yaml", []byte(little), "/srv")
	if err != nil {
		t.Fatal(err)
	}
	checkFacts(t, "little", o, variant(t, func(string) string { return little }))
}

func checkFacts(t *testing.T, name string, o *deployment.Options, made template) {
	t.Helper()
	f := o.Facts(time.Now())
	for kind, want := range map[string]int{
		"AWS::Lambda::Function":            len(f.Functions),
		"AWS::StepFunctions::StateMachine": len(f.Workflows),
		"AWS::Scheduler::Schedule":         len(f.Schedules),
		"AWS::CloudWatch::Alarm":           len(f.Alarms),
		"AWS::SQS::Queue":                  len(f.Queues),
		"AWS::SecretsManager::Secret":      int(f.Fixed.Secrets),
		"AWS::KMS::Key":                    int(f.Fixed.Keys),
		"AWS::CloudWatch::Dashboard":       int(f.Fixed.Dashboards),
		"AWS::S3::Bucket":                  2, // the vault and its access logs
		"AWS::Budgets::Budget":             min(1, f.Budget),
		"AWS::SNS::Subscription":           len(f.Told),
	} {
		if got := len(made.of(kind)); got != want {
			t.Errorf("%s: %d of %s are made, and %d are said", name, got, kind, want)
		}
	}
	for what, pair := range map[string][2]any{
		"functions": {saidFunctions(f), madeFunctions(made)},
		"schedules": {saidSchedules(f), madeSchedules(made)},
		"routes":    {saidRoutes(f), madeRoutes(made)},
		"alarms":    {saidAlarms(f), madeAlarms(made)},
		"lifecycle": {f.Vault.Lifecycle, madeLifecycle(made)},
		"outputs":   {saidOutputs(f), madeOutputs(made)},
		"lock":      {strings.HasPrefix(f.Vault.Lock, "none"), at(made.one("AWS::S3::Bucket", "Vault").Properties, "ObjectLockEnabled") == nil},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s: the %s that are said, and those that are made (-said +made):\n%s", name, what, diff)
		}
	}
	for _, s := range f.Secrets {
		if s.Reference != "" && !mentions(made, s.Reference) {
			t.Errorf("%s: %s, %s, is said, and no role may read it", name, s.Says, s.Reference)
		}
	}
}

// mentions reports whether some role may read the secret of a reference.
func mentions(made template, reference string) bool {
	_, secret, _ := strings.Cut(reference, ":")
	secret, _, _ = strings.Cut(secret, "#")
	return slices.ContainsFunc(made.grants(), func(s statement) bool {
		reads := slices.Contains(s.actions, "secretsmanager:GetSecretValue") || slices.Contains(s.actions, "ssm:GetParameter")
		return reads && slices.ContainsFunc(s.resources, func(r string) bool { return strings.Contains(r, strings.TrimPrefix(secret, "/")) })
	})
}

func saidFunctions(f deployment.Facts) []string {
	var all []string
	for _, n := range f.Functions {
		all = append(all, fmt.Sprintf("%s %d %v %v", deployment.ID(n.Name), n.Memory, time.Duration(n.Timeout).Seconds(), n.Says))
	}
	slices.Sort(all)
	return all
}

func madeFunctions(made template) []string {
	var all []string
	for _, id := range made.of("AWS::Lambda::Function") {
		p := made.Resources[id].Properties
		all = append(all, fmt.Sprintf("%s %v %v %v", plainID(id), p["MemorySize"], p["Timeout"], strings.TrimPrefix(text(p["Description"]), "lifeboat: ")))
	}
	slices.Sort(all)
	return all
}

func saidSchedules(f deployment.Facts) []string {
	var all []string
	for _, s := range f.Schedules {
		all = append(all, fmt.Sprintf("%sSchedule %s %s %v", s.ID, s.Expression, s.Zone, time.Duration(s.Window).Minutes()))
	}
	slices.Sort(all)
	return all
}

func madeSchedules(made template) []string {
	var all []string
	for _, id := range made.of("AWS::Scheduler::Schedule") {
		p := made.Resources[id].Properties
		window := at(p, "FlexibleTimeWindow", "MaximumWindowInMinutes")
		if window == nil {
			window = 0
		}
		all = append(all, fmt.Sprintf("%s %s %s %v", id, text(p["ScheduleExpression"]), text(p["ScheduleExpressionTimezone"]), window))
	}
	slices.Sort(all)
	return all
}

// saidRoutes are "public GET /backups backup:read".
func saidRoutes(f deployment.Facts) []string {
	var all []string
	for _, e := range f.APIs {
		for _, route := range e.Keys {
			who := "machines"
			if _, scope, people := strings.Cut(e.Who, " and the scope "); people {
				who = scope
			} else if e.API == "public" {
				who = "anybody"
			}
			all = append(all, e.API+" "+route+" "+who)
		}
	}
	slices.Sort(all)
	return all
}

func madeRoutes(made template) []string {
	var all []string
	for _, id := range made.of("AWS::ApiGatewayV2::Route") {
		p := made.Resources[id].Properties
		who := map[string]string{"NONE": "anybody", "AWS_IAM": "machines", "JWT": strings.Join(texts(p["AuthorizationScopes"]), " ")}[text(p["AuthorizationType"])]
		all = append(all, strings.ToLower(strings.Trim(text(p["ApiId"]), "${}"))+" "+text(p["RouteKey"])+" "+who)
	}
	slices.Sort(all)
	return all
}

func saidAlarms(f deployment.Facts) map[string]int {
	all := map[string]int{}
	for _, a := range f.Alarms {
		all[a.ID] = a.Metrics
	}
	return all
}

// madeAlarms counts the metrics that an alarm looks at: what it computes of others is not billed.
func madeAlarms(made template) map[string]int {
	all := map[string]int{}
	for _, id := range made.of("AWS::CloudWatch::Alarm") {
		p := made.Resources[id].Properties
		n := 0
		for _, m := range list(p["Metrics"]) {
			if at(m, "Expression") == nil {
				n++
			}
		}
		if p["MetricName"] != nil {
			n++
		}
		all[plainID(id)] = n
	}
	return all
}

func madeLifecycle(made template) []deployment.Rule {
	var all []deployment.Rule
	number := func(value any, path ...string) int {
		n, _ := at(value, path...).(float64)
		return int(n)
	}
	for _, r := range list(at(made.one("AWS::S3::Bucket", "Vault").Properties, "LifecycleConfiguration", "Rules")) {
		prefix, _ := at(r, "Prefix").(string)
		all = append(all, deployment.Rule{
			ID: text(at(r, "Id")), Prefix: prefix, Expire: number(r, "ExpirationInDays"),
			Noncurrent: number(r, "NoncurrentVersionExpiration", "NoncurrentDays"), Abort: number(r, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
		})
	}
	return all
}

func saidOutputs(f deployment.Facts) map[string]string {
	all := map[string]string{}
	for _, o := range f.Outputs {
		all[o.Name] = o.Says
	}
	return all
}

func madeOutputs(made template) map[string]string {
	all := map[string]string{}
	for id := range maps.Keys(made.Outputs) {
		all[id] = text(made.Outputs[id]["Description"])
	}
	return all
}
