package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/machine"
)

var expected = regexp.MustCompile("(?s)with the input `(\\{[^`]*\\})` is.*?\n\n    (\\{[^\n]*\\})\n")

// TestConformance: what the runbook says that Step Functions must answer is what the embedded runner answers.
func TestConformance(t *testing.T) {
	definition, err := os.ReadFile("../docs/examples/conformance.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	said := expected.FindSubmatch(runbook)
	if said == nil {
		t.Fatal("the runbook does not say what goes in and comes out")
	}
	m, err := machine.Load(definition, nil, machine.WithInputs("n", "word", "items", "none", "nothing"))
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := (&machine.Engine{}).Execute(t.Context(), m, machine.Execution{Name: "conformance", Input: said[1]})
	if err != nil || outcome.Status != machine.Succeeded {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if diff := cmp.Diff(plainly(t, said[2]), plainly(t, outcome.Output)); diff != "" {
		t.Errorf("(-the runbook +the runner):\n%s\n%s", diff, outcome.Output)
	}
}

// plainly decodes JSON with all digits of its numbers.
func plainly(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return value
}
