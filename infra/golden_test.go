package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wanted, found := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(wanted), len(found)) {
		a, b := line(wanted, i), line(found, i)
		if a != b {
			t.Fatalf("%s differs from line %d on:\n- %s\n+ %s\nlook at the whole difference after `go test . -update`", path, i+1, a, b)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

var assetHash = regexp.MustCompile(`[0-9a-f]{64}`)

// TestGoldenTemplate shows every change of what is deployed as a change of a file. The digests of the assets, which change
// with the code, are masked; so are the definitions, of which TestSameBytes says that they are the files of workflow/.
func TestGoldenTemplate(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal(made.text, &whole); err != nil {
		t.Fatal(err)
	}
	for _, id := range made.of("AWS::StepFunctions::StateMachine") {
		at(whole, "Resources", id, "Properties").(map[string]any)["DefinitionString"] = "<definition>"
	}
	var indented bytes.Buffer
	encoder := json.NewEncoder(&indented)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(whole); err != nil {
		t.Fatal(err)
	}
	golden(t, "template.golden.json", assetHash.ReplaceAll(indented.Bytes(), []byte("<asset>")))
}

// statement is one of a policy, as flat lists.
type statement struct {
	holder     string // the role, or the resource that has the policy
	principal  string
	effect     string
	actions    []string
	resources  []string
	conditions string
}

// grants returns what all roles may do.
func (t template) grants() []statement {
	var all []statement
	for _, id := range t.of("AWS::IAM::Policy") {
		p := t.Resources[id].Properties
		for _, role := range texts(p["Roles"]) {
			all = append(all, statements(strings.Trim(role, "${}"), p["PolicyDocument"])...)
		}
	}
	for _, id := range t.of("AWS::IAM::ManagedPolicy") {
		p, holders := t.Resources[id].Properties, []string{plainID(id)} // or nobody yet
		if p["Roles"] != nil {
			holders = texts(p["Roles"])
		}
		for _, holder := range holders {
			all = append(all, statements(strings.Trim(holder, "${}"), p["PolicyDocument"])...)
		}
	}
	for _, id := range t.of("AWS::IAM::Role") {
		for _, policy := range list(t.Resources[id].Properties["Policies"]) {
			all = append(all, statements(plainID(id), at(policy, "PolicyDocument"))...)
		}
	}
	return all
}

// resourcePolicies returns who else may do what: trust of roles, policies of buckets, queues, the topic and the key.
func (t template) resourcePolicies() []statement {
	var all []statement
	for id, r := range t.Resources {
		for _, name := range []string{"AssumeRolePolicyDocument", "KeyPolicy", "PolicyDocument"} {
			if r.Properties[name] != nil && (name == "AssumeRolePolicyDocument" || !strings.HasPrefix(r.Type, "AWS::IAM::")) {
				all = append(all, statements(plainID(id), r.Properties[name])...)
			}
		}
	}
	return all
}

func list(value any) []any {
	l, _ := value.([]any)
	return l
}

func statements(holder string, document any) []statement {
	var all []statement
	for _, s := range list(at(document, "Statement")) {
		all = append(all, statement{
			holder: holder, principal: strings.Join(texts(at(s, "Principal")), ","), effect: text(at(s, "Effect")),
			actions: texts(at(s, "Action")), resources: texts(at(s, "Resource")), conditions: condition(at(s, "Condition")),
		})
	}
	return all
}

func condition(value any) string {
	if value == nil {
		return ""
	}
	var words []string
	for _, operator := range slices.Sorted(maps.Keys(value.(map[string]any))) {
		for key, v := range at(value, operator).(map[string]any) {
			words = append(words, fmt.Sprintf("%s %s %s", key, operator, strings.Join(texts(v), ",")))
		}
	}
	slices.Sort(words)
	return " if " + strings.Join(words, " and ")
}

// TestGoldenIAM lists who may do what, one line for each action on each resource: a new permission is a new line.
func TestGoldenIAM(t *testing.T) {
	var lines []string
	for _, s := range slices.Concat(made.grants(), made.resourcePolicies()) {
		for _, action := range s.actions {
			for _, resource := range s.resources {
				who := s.holder
				if s.principal != "<nil>" && s.principal != "" {
					who = s.principal + " at " + s.holder
				}
				lines = append(lines, assetHash.ReplaceAllString(fmt.Sprintf("%s: %s %s %s%s", who, s.effect, action, resource, s.conditions), "<asset>"))
			}
		}
	}
	slices.Sort(lines)
	golden(t, "iam.golden.txt", []byte(strings.Join(slices.Compact(lines), "\n")+"\n"))
}

// wide are the actions that AWS grants on everything or not at all, and why they are needed.
var wide = map[string]string{
	"xray:PutTraceSegments":         "tracing has no resources",
	"xray:PutTelemetryRecords":      "tracing has no resources",
	"xray:GetSamplingRules":         "tracing has no resources",
	"xray:GetSamplingTargets":       "tracing has no resources",
	"logs:CreateLogDelivery":        "the delivery of a state machine's logs has no resources",
	"logs:GetLogDelivery":           "the delivery of a state machine's logs has no resources",
	"logs:UpdateLogDelivery":        "the delivery of a state machine's logs has no resources",
	"logs:DeleteLogDelivery":        "the delivery of a state machine's logs has no resources",
	"logs:ListLogDeliveries":        "the delivery of a state machine's logs has no resources",
	"logs:PutResourcePolicy":        "the delivery of a state machine's logs has no resources",
	"logs:DescribeResourcePolicies": "the delivery of a state machine's logs has no resources",
	"logs:DescribeLogGroups":        "the delivery of a state machine's logs has no resources",
}

// kinds are the actions on everything of a kind, and why they are needed.
var kinds = map[string]string{
	"ses:SendEmail …identity/*":    "in the sandbox SES asks about the recipients' identities, too; who sends stands in the condition",
	"ses:SendRawEmail …identity/*": "in the sandbox SES asks about the recipients' identities, too; who sends stands in the condition",
}

// TestNarrow refuses actions with a wildcard, and whole services; and everything as a resource, or everything of a kind, but
// for what is listed with its reason. A list entry that nothing needs is refused, too.
func TestNarrow(t *testing.T) {
	needed := map[string]bool{}
	for _, s := range made.grants() {
		if s.effect != "Allow" {
			t.Errorf("%s: a role's policy says %s", s.holder, s.effect)
		}
		for _, action := range s.actions {
			if strings.Contains(action, "*") {
				t.Errorf("%s may do %s", s.holder, action)
			}
			for _, resource := range s.resources {
				if resource == "*" && wide[action] == "" {
					t.Errorf("%s may do %s on everything", s.holder, action)
				}
				needed[action] = needed[action] || resource == "*"
				if kind := resource[strings.LastIndex(resource, ":")+1:]; strings.HasSuffix(kind, "/*") && !strings.Contains(resource, ":s3:::") && !strings.HasPrefix(resource, "${Vault.Arn}") {
					kind = action + " …" + kind
					if needed[kind] = true; kinds[kind] == "" || s.conditions != " if ses:FromAddress StringEquals backups@example.com" {
						t.Errorf("%s may do %s on %s%s", s.holder, action, resource, s.conditions)
					}
				}
				if strings.HasSuffix(resource, ":*") && !strings.Contains(resource, ":execution:") && !strings.HasPrefix(action, "logs:") {
					t.Errorf("%s may do %s on %s", s.holder, action, resource)
				}
			}
		}
	}
	for kind := range kinds {
		if !needed[kind] {
			t.Errorf("nothing needs %s", kind)
		}
	}
	for action := range wide {
		if !needed[action] {
			t.Errorf("nothing needs %s on everything", action)
		}
	}
}

// TestResourcePolicies refuses that anybody but this account and AWS's own services may do something.
func TestResourcePolicies(t *testing.T) {
	for _, s := range made.resourcePolicies() {
		if s.effect == "Allow" && (s.principal == "*" || strings.Contains(s.principal, "AWS=*")) {
			t.Errorf("%s lets anybody do %v", s.holder, s.actions)
		}
		root := "AWS=arn:${AWS::Partition}:iam::${AWS::AccountId}:root"
		if s.effect == "Allow" && s.principal != root && slices.ContainsFunc(s.actions, func(a string) bool { return strings.Contains(a, "*") }) {
			t.Errorf("%s lets %s do %v", s.holder, s.principal, s.actions)
		}
	}
}
