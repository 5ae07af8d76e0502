package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/failure"
)

// samples names the message of each sample file.
var samples = map[string]func() any{
	"input.json":                      func() any { return &events.Input{} },
	"request-begin.json":              func() any { return &events.Request{} },
	"request-snapshot.json":           func() any { return &events.Request{} },
	"request-plan-packs.json":         func() any { return &events.Request{} },
	"request-copy.json":               func() any { return &events.Request{} },
	"request-assemble.json":           func() any { return &events.Request{} },
	"request-seal.json":               func() any { return &events.Request{} },
	"request-notify.json":             func() any { return &events.Request{} },
	"request-abort.json":              func() any { return &events.Request{} },
	"began.json":                      func() any { return &events.Began{} },
	"snapshot.json":                   func() any { return &events.Snapshot{} },
	"plan.json":                       func() any { return &events.Plan{} },
	"batch.json":                      func() any { return &events.Batch{} },
	"copied.json":                     func() any { return &events.Copied{} },
	"assembly.json":                   func() any { return &events.Assembly{} },
	"sealed.json":                     func() any { return &events.Sealed{} },
	"error.json":                      func() any { return &events.Error{} },
	"restore-began.json":              func() any { return &events.RestoreBegan{} },
	"restore-checked.json":            func() any { return &events.Checked{} },
	"restore-confirmed.json":          func() any { return &events.Confirmed{} },
	"restore-fetch.json":              func() any { return &events.Fetch{} },
	"restore-input-drill.json":        func() any { return &events.RestoreInput{} },
	"restore-input-drill-target.json": func() any { return &events.RestoreInput{} },
	"restore-input-dry-run.json":      func() any { return &events.RestoreInput{} },
	"restore-input-file.json":         func() any { return &events.RestoreInput{} },
	"restore-input-folder.json":       func() any { return &events.RestoreInput{} },
	"restore-input-url.json":          func() any { return &events.RestoreInput{} },
	"restore-input.json":              func() any { return &events.RestoreInput{} },
	"restore-replayed.json":           func() any { return &events.Replayed{} },
	"restore-request-begin.json":      func() any { return &events.RestoreRequest{} },
	"restore-request-check.json":      func() any { return &events.RestoreRequest{} },
	"restore-request-confirm.json":    func() any { return &events.RestoreRequest{} },
	"restore-request-fetch.json":      func() any { return &events.RestoreRequest{} },
	"restore-request-notify.json":     func() any { return &events.RestoreRequest{} },
	"restore-request-put.json":        func() any { return &events.RestoreRequest{} },
	"restore-request-release.json":    func() any { return &events.RestoreRequest{} },
	"restore-request-replay.json":     func() any { return &events.RestoreRequest{} },
	"restore-request-reserve.json":    func() any { return &events.RestoreRequest{} },
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSamples: each sample is its message, with every field, and nothing else.
func TestSamples(t *testing.T) {
	for name, message := range samples {
		data, v := read(t, name), message()
		if err := events.Decode(data, v); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var was, is any
		if json.Unmarshal(data, &was) != nil || json.Unmarshal(back, &is) != nil {
			t.Fatal(name)
		}
		if diff := cmp.Diff(was, is); diff != "" {
			t.Errorf("%s loses something on its way: %s", name, diff)
		}
	}
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) != len(samples) {
		t.Errorf("%d files, %d samples, %v", len(files), len(samples), err)
	}
}

// TestEveryField: the samples of requests have every field between them.
func TestEveryField(t *testing.T) {
	var set []string
	for name, message := range samples {
		r, ok := message().(*events.Request)
		if !ok {
			continue
		}
		if err := events.Decode(read(t, name), r); err != nil {
			t.Fatal(err)
		}
		for i := range reflect.TypeFor[events.Request]().NumField() {
			if field := reflect.ValueOf(*r).Field(i); !field.IsZero() {
				set = append(set, reflect.TypeFor[events.Request]().Field(i).Name)
			}
		}
		if step, _ := strings.CutPrefix(strings.TrimSuffix(name, ".json"), "request-"); step != r.Step {
			t.Errorf("%s is for the step %s", name, r.Step)
		}
	}
	slices.Sort(set)
	if got, want := len(slices.Compact(set)), reflect.TypeFor[events.Request]().NumField(); got != want {
		t.Errorf("%d of %d fields are in a sample", got, want)
	}
}

// TestStrict: a message that we misunderstand must not run.
func TestStrict(t *testing.T) {
	for name, message := range samples {
		good := bytes.TrimSpace(read(t, name))
		for what, bad := range map[string][]byte{
			"an unknown field":  append([]byte(`{"unknown":1,`), good[1:]...),
			"something behind":  append(bytes.Clone(good), '{', '}'),
			"a bracket behind":  append(bytes.Clone(good), ']'),
			"a brace behind":    append(bytes.Clone(good), '}'),
			"no end":            good[:len(good)-1],
			"a list of it":      append(append([]byte("["), good...), ']'),
			"nothing":           nil,
			"a number":          []byte("7"),
			"a comment":         append([]byte("// "), good...),
			"nested unknown":    bytes.Replace(good, []byte(`"run": {`), []byte(`"run": {"x":1,`), 1),
			"nested unknown in": bytes.Replace(good, []byte(`"started_by": {`), []byte(`"started_by": {"x":1,`), 1),
		} {
			if bytes.Equal(bad, good) {
				continue // the message has no such part
			}
			if err := events.Decode(bad, message()); failure.KindOf(err) != failure.Usage {
				t.Errorf("%s with %s: %v", name, what, err)
			}
		}
	}
}

// TestDecodeSays: what is wrong with a message is said without the names of types.
func TestDecodeSays(t *testing.T) {
	for text, want := range map[string]string{
		`{"restore": {"dry_run": "yes"}}`: "the field restore.dry_run can't be a string",
		`{"restore": {"only": "a"}}`:      "the field restore.only can't be a string",
		`{"restore": {"form": 1}}`:        `it has the unknown field "form"`,
		`{"restore": `:                    "what was sent is no JSON",
		`restore`:                         "what was sent is no JSON",
		``:                                "what was sent is no JSON",
		`[]`:                              "the whole message can't be of the type array",
		`{} {}`:                           "something follows the message",
	} {
		err := events.Decode([]byte(text), &events.RestoreInput{})
		if err == nil || err.Error() != want || failure.KindOf(err) != failure.Usage {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
