package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/machine"
	"lifeboat/workflow"
)

// TestSameBytes: the definitions that are deployed are the embedded ones, byte for byte; each placeholder stands for the
// function that package workflow names; and, with the substitutions of the template, the embedded runner loads them.
func TestSameBytes(t *testing.T) {
	for id, w := range map[string]struct {
		definition []byte
		functions  map[string]string
		input      string
	}{
		"BackupMachine":  {workflow.Backup, workflow.BackupFunctions, "run"},
		"RestoreMachine": {workflow.Restore, workflow.RestoreFunctions, "restore"},
	} {
		p := made.one("AWS::StepFunctions::StateMachine", id).Properties
		definition := text(p["DefinitionString"])
		if definition != string(w.definition) {
			t.Errorf("%s: what is deployed is not what is embedded", id)
		}
		substitutions, _ := p["DefinitionSubstitutions"].(map[string]any)
		bound := map[string]string{}
		for name, function := range w.functions {
			bound[name] = function
			if got, want := text(substitutions[name]), "${"+strings.ToUpper(function[:1])+function[1:]+".Arn}"; got != want {
				t.Errorf("%s: ${%s} is %s, want %s", id, name, got, want)
			}
		}
		if len(substitutions) != len(w.functions) {
			t.Errorf("%s: %d substitutions for %d placeholders", id, len(substitutions), len(w.functions))
		}
		if _, err := machine.Load([]byte(definition), bound, machine.WithInputs(w.input)); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestAbout: the command line understands what the stack says of itself.
func TestAbout(t *testing.T) {
	p := made.one("AWS::SSM::Parameter", "About").Properties
	name, err := remote.Parameter("lifeboat")
	if err != nil || text(p["Name"]) != name || text(p["Type"]) != "String" {
		t.Errorf("the parameter %s is a %s, want %s: %v", text(p["Name"]), text(p["Type"]), name, err)
	}
	got, err := remote.Parse("lifeboat", text(p["Value"]))
	got.Config = assetHash.ReplaceAllString(got.Config, "<asset>")
	want := remote.Stack{
		Format: remote.Format, VaultBucket: "${Vault}", Config: "s3://cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}/<asset>.yaml",
		Account: "${AWS::AccountId}", PublicURL: "https://backup.example.com", LinkKey: "secretsmanager:${LinkKey}",
		BackupMachine: "${BackupMachine}", RestoreMachine: "${RestoreMachine}",
	}
	if err != nil || got != want {
		t.Errorf("the stack says %+v, want %+v: %v", got, want, err)
	}
}

// TestMachines: standard, logged without what passes through, traced; and allowed to invoke what it names, no more.
func TestMachines(t *testing.T) {
	for id, functions := range map[string]map[string]string{"BackupMachine": workflow.BackupFunctions, "RestoreMachine": workflow.RestoreFunctions} {
		p := made.one("AWS::StepFunctions::StateMachine", id).Properties
		logging := at(p, "LoggingConfiguration")
		if text(p["StateMachineType"]) != "STANDARD" || at(p, "TracingConfiguration", "Enabled") != true ||
			text(at(logging, "Level")) != "ALL" || at(logging, "IncludeExecutionData") != false {
			t.Errorf("%s: %s %s %s", id, text(p["StateMachineType"]), text(p["TracingConfiguration"]), text(logging))
		}
		if p["EncryptionConfiguration"] != nil {
			t.Errorf("%s has a key of ours: the events about its executions may lack the input that closing needs", id)
		}
		var want, got []string
		for _, f := range functions {
			want = append(want, "${"+strings.ToUpper(f[:1])+f[1:]+".Arn}")
		}
		for _, s := range made.grants() {
			if s.holder == id+"Role" && slices.Contains(s.actions, "lambda:InvokeFunction") {
				got = append(got, s.resources...)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s may invoke %v, names %v", id, got, want)
		}
	}
}

// TestClosing: whatever ends a run in a way that its machine cannot catch reaches the function that closes it, and the one
// that tells people.
func TestClosing(t *testing.T) {
	for rule, want := range map[string]string{"BackupEnded": "${Package.Arn} ${Notify.Arn}", "RestoreEnded": "${Restore.Arn} ${Notify.Arn}"} {
		p := made.one("AWS::Events::Rule", rule).Properties
		pattern := text(p["EventPattern"])
		machine := strings.TrimSuffix(rule, "Ended") + "Machine"
		if wanted := "detail=stateMachineArn=${" + machine + "} status=FAILED,TIMED_OUT,ABORTED detail-type=Step Functions Execution Status Change source=aws.states"; pattern != wanted {
			t.Errorf("%s: %s, want %s", rule, pattern, wanted)
		}
		var got []string
		for _, target := range list(p["Targets"]) {
			got = append(got, text(at(target, "Arn")))
			if at(target, "InputTransformer") != nil || at(target, "Input") != nil {
				t.Errorf("%s changes the event", rule)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s reaches %v, want %s", rule, got, want)
		}
	}
}

// checkInput holds what a schedule sends against what gets it. Package lambdafn decodes strictly; it is read as a text, since
// importing it would make this module need all that the functions are made of.
func checkInput(t *testing.T, id, target, input string) {
	t.Helper()
	if target == "${RestoreMachine}" {
		if err := events.Decode([]byte(input), &events.RestoreInput{}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		return
	}
	var message map[string]map[string]string
	if err := json.Unmarshal([]byte(input), &message); err != nil {
		t.Errorf("%s: %v", id, err)
	}
	types := map[string]string{"start": "StartBackup", "watch": "Watch"}
	for name, fields := range message {
		if got, want := slices.Sorted(maps.Keys(fields)), fieldsOf(t, types[name]); !slices.Equal(got, want) {
			t.Errorf("%s sends %s with %v, the function takes %v", id, name, got, want)
		}
	}
	if start := message["start"]; start != nil && start["at"] != "<aws.scheduler.scheduled-time>" {
		t.Errorf("%s has no time: %s", id, input)
	}
}

var jsonName = regexp.MustCompile("`json:\"([a-z_]+)")

// fieldsOf returns the names of the fields of a type of package lambdafn in JSON.
func fieldsOf(t *testing.T, name string) []string {
	t.Helper()
	source := lambdafnSource(t, "schedule.go")
	_, body, found := strings.Cut(source, "type "+name+" struct {")
	body, _, _ = strings.Cut(body, "\n}")
	var names []string
	for _, m := range jsonName.FindAllStringSubmatch(body, -1) {
		names = append(names, m[1])
	}
	if !found || len(names) == 0 {
		t.Fatalf("package lambdafn has no %s", name)
	}
	slices.Sort(names)
	return names
}

func lambdafnSource(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile("../internal/lambdafn/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// TestRunbook: what the runbook wants pasted is what the functions take.
func TestRunbook(t *testing.T) {
	data, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := jsonBlock.FindAllSubmatch(data, -1)
	if len(blocks) != 3 {
		t.Errorf("%d inputs, want 3", len(blocks))
	}
	for _, b := range blocks {
		var message any = &events.Input{}
		if strings.Contains(string(b[1]), `"restore"`) {
			message = &events.RestoreInput{}
		}
		if err := events.Decode(b[1], message); err != nil {
			t.Errorf("%s: %v", b[1], err)
		}
	}
	for id := range made.Outputs {
		if !strings.Contains(string(data), "`"+id+"`") && !strings.Contains(unnamed, " "+id+" ") && !strings.HasSuffix(id, "PolicyCommand") {
			t.Errorf("the runbook does not name the output %s", id)
		}
	}
}

// unnamed are the outputs that speak for themselves.
const unnamed = " StartRestoreCommand LinksCommand APICommand TopicCommand "
