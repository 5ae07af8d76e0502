package events_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lifeboat/workflow"
)

// TestEveryStep: each state that calls a function has a sample of what it sends, with the fields that the definition
// names and no others.
func TestEveryStep(t *testing.T) {
	for _, w := range []struct {
		definition     []byte
		samples, state string
	}{{workflow.Backup, "request-*.json", "backup"}, {workflow.Restore, "restore-request-*.json", "restore"}} {
		fields := map[string]map[string]bool{} // step → fields of its samples
		files, err := filepath.Glob(w.samples)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			var message map[string]json.RawMessage
			if err := json.Unmarshal(read(t, name), &message); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			step := strings.Trim(string(message["step"]), `"`)
			fields[step] = map[string]bool{}
			for field := range message {
				fields[step][field] = true
			}
		}
		sent := payloads(t, w.definition)
		if len(sent) < 8 {
			t.Errorf("only %d states of the %s call a function", len(sent), w.state)
		}
		for state, payload := range sent {
			step, _ := payload["step"].(string)
			if fields[step] == nil {
				t.Errorf("the state %s of the %s has no sample of the step %s", state, w.state, step)
				continue
			}
			named := map[string]bool{}
			for field := range payload {
				named[strings.TrimSuffix(field, ".$")] = true
			}
			for field := range fields[step] {
				// The same step may be sent with more by another state.
				if !named[field] && !anotherNames(sent, step, field) {
					t.Errorf("the sample of the step %s has %s, which no state sends", step, field)
				}
			}
		}
	}
}

// anotherNames reports whether some state sends a step with a field.
func anotherNames(sent map[string]map[string]any, step, field string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(sent)), func(payload map[string]any) bool {
		return payload["step"] == step && (payload[field] != nil || payload[field+".$"] != nil)
	})
}

// payloads returns what each state that is a task sends, also of the states within Maps.
func payloads(t *testing.T, definition []byte) map[string]map[string]any {
	t.Helper()
	type states map[string]struct {
		Type          string
		Parameters    struct{ Payload map[string]any }
		ItemProcessor struct{ States json.RawMessage }
	}
	all := map[string]map[string]any{}
	var walk func(data []byte)
	walk = func(data []byte) {
		var found states
		if err := json.Unmarshal(data, &found); err != nil {
			t.Fatal(err)
		}
		for name, s := range found {
			if s.Type == "Task" {
				all[name] = s.Parameters.Payload
			}
			if s.ItemProcessor.States != nil {
				walk(s.ItemProcessor.States)
			}
		}
	}
	var root struct{ States json.RawMessage }
	if err := json.Unmarshal(definition, &root); err != nil {
		t.Fatal(err)
	}
	walk(root.States)
	return all
}
