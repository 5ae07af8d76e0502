package lambdafn_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/lambdafn"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/machine"
	"lifeboat/workflow"
)

// sample reads a file of events/.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../events", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTriggers decodes each sample of a trigger with what the function uses: ours strictly, envelopes of AWS leniently.
func TestTriggers(t *testing.T) {
	files, err := filepath.Glob("../../events/triggers/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		data := sample(t, "triggers/"+name)
		kind, _, _ := strings.Cut(name, "-")
		switch kind {
		case "schedule":
			var message any = &lambdafn.Scheduled{}
			if strings.HasPrefix(name, "schedule-drill") {
				message = &events.RestoreInput{}
			}
			if err := events.Decode(data, message); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := events.Decode(more(data), message); err == nil {
				t.Errorf("%s: an unknown field is taken", name)
			}
		case "api", "link":
			checkHTTP(t, name, data)
			checkHTTP(t, name+" with more", more(data))
		case "execution":
			var change struct {
				Detail struct{ Input string }
			}
			if err := json.Unmarshal(data, &change); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var message any = &events.Input{}
			if strings.Contains(change.Detail.Input, `"restore"`) {
				message = &events.RestoreInput{}
			}
			if err := events.Decode([]byte(change.Detail.Input), message); err != nil {
				t.Errorf("%s: its input: %v", name, err)
			}
		default:
			t.Errorf("%s is of no kind", name)
		}
	}
}

// more is a message with a field that nobody knows, as AWS may add one any day.
func more(data []byte) []byte {
	return append([]byte(`{"aNewField": {"a": 1},`), bytes.TrimSpace(data)[1:]...)
}

// checkHTTP sends an event through the adapter and compares the request that the handler gets.
func checkHTTP(t *testing.T, name string, data []byte) {
	t.Helper()
	var event lambdaevents.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(data, &event); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got := ""
	_, err := lambdafn.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.Path
		if strings.HasPrefix(name, "api-") != (lambdafn.Caller(r.Context()) != "") {
			t.Errorf("%s: the caller is %q", name, lambdafn.Caller(r.Context()))
		}
	}))(t.Context(), data)
	if want := event.RequestContext.HTTP.Method + " " + event.RawPath; err != nil || got != want {
		t.Errorf("%s: the handler got %q, want %q: %v", name, got, want, err)
	}
}

// TestEveryTrigger: each function that something else than a workflow calls has a sample of it.
func TestEveryTrigger(t *testing.T) {
	s := newStack(t, "LIFEBOAT_PUBLIC_URL=https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com") // the host of the samples
	s.put("data", "a", []byte("a"))
	invoke := func(function, name string) (json.RawMessage, error) {
		return s.functions[function].Invoke(t.Context(), elsewhere(sample(t, "triggers/"+name)))
	}
	for name, want := range map[string]string{"schedule-start.json": `"answer":"started"`, "schedule-watch.json": `{}`} {
		if answer, err := invoke("start", name); err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%s: %s, %v", name, answer, err)
		}
	}
	s.lostRun(consoleInputs(t)[0])
	for name, want := range map[string]int{
		"api-post-backups.json": http.StatusAccepted, "api-get-backup.json": http.StatusOK,
		"api-get-backups.json": http.StatusOK, "api-get-restores.json": http.StatusOK, "api-get-restore.json": http.StatusNotFound,
		"api-post-restores.json": http.StatusNotFound,
		"link-get.json":          http.StatusNotFound, "link-post.json": http.StatusNotFound,
	} {
		answer, err := invoke("api", name)
		var a answered
		if err != nil || json.Unmarshal(answer, &a) != nil || a.StatusCode != want {
			t.Errorf("%s: %s, %v; want %d", name, answer, err, want)
		}
	}
	for _, function := range []string{"package", "notify"} {
		if answer, err := invoke(function, "execution-failed.json"); err != nil {
			t.Errorf("%s: %s, %v", function, answer, err)
		}
	}
	record, err := s.catalog.Record(t.Context(), "photos", "20261121T020000Z-abcdef")
	if err != nil || record.Status != backup.Failed || !strings.Contains(record.Failure.Message, "PlanPacks") || len(s.services.Mails()) != 1 {
		t.Errorf("the run that failed: %+v, %v, %d mails", record.Failure, err, len(s.services.Mails()))
	}
	s.explain()
}

// lostRun runs a backup that nobody closes.
func (s *stack) lostRun(input []byte) {
	s.t.Helper()
	s.fail = func(_ string, payload []byte) error {
		if strings.Contains(string(payload), `"step":"seal"`) || strings.Contains(string(payload), `"step":"abort"`) || strings.Contains(string(payload), `"step":"notify"`) {
			return &runtimeapi.Error{Type: "Lifeboat.Internal", Message: "made up"}
		}
		return nil
	}
	if outcome := s.execute(workflow.Backup, workflow.BackupFunctions, "run", "20261121T020000Z-abcdef", json.RawMessage(input)); outcome.Status != machine.Failed {
		s.t.Fatalf("%+v", outcome)
	}
	s.fail = nil
}

// elsewhere names the target of the stack of these tests.
func elsewhere(message []byte) []byte {
	return bytes.ReplaceAll(message, []byte("photos-new"), []byte("elsewhere"))
}

// consoleInputs are the two inputs that the README wants pasted into the console.
func consoleInputs(t *testing.T) [][]byte {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var inputs [][]byte
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte(`{"run":`)) || bytes.HasPrefix(line, []byte(`{"restore":`)) {
			inputs = append(inputs, line)
		}
	}
	if len(inputs) != 2 {
		t.Fatalf("%d inputs in README.md, want 2", len(inputs))
	}
	return inputs
}

// TestConsole: what the README wants pasted into the Step Functions console starts a backup and a restore, and they end
// well; so does what a schedule of a drill sends, and the samples of restores that fit the stack of these tests.
func TestConsole(t *testing.T) {
	s := newStack(t)
	s.put("data", "a", []byte("a"))
	inputs := consoleInputs(t)
	if outcome := s.execute(workflow.Backup, workflow.BackupFunctions, "run", "pasted", json.RawMessage(inputs[0])); outcome.Status != machine.Succeeded {
		s.explain()
		t.Fatalf("the backup: %+v", outcome)
	}
	for _, message := range [][]byte{
		inputs[1], sample(t, "restore-input-dry-run.json"), sample(t, "restore-input.json"), sample(t, "triggers/schedule-drill.json"), sample(t, "triggers/schedule-drill-target.json"),
	} {
		outcome := s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", "pasted", json.RawMessage(elsewhere(message)))
		if outcome.Status != machine.Succeeded {
			s.explain()
			t.Fatalf("%s: %+v", message, outcome)
		}
	}
	if got := s.objects("restored")["a"]; got != "a" {
		t.Errorf("restored %q", got)
	}
}
