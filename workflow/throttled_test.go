package workflow

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/machine"
)

type throttled struct{}

func (throttled) Error() string     { return "Rate Exceeded." }
func (throttled) ErrorName() string { return "Lambda.TooManyRequestsException" }

// TestThrottled backs up where only ten functions may run at the same time, as in a new account, and forty want to: each
// finds a place in the end, also where a batch takes as long as one may.
func TestThrottled(t *testing.T) {
	const quota, batches = 10, 40
	m, err := machine.Load(Backup, BackupFunctions, machine.WithInputs("run"))
	if err != nil {
		t.Fatal(err)
	}
	few := make([]map[string]int, batches)
	for i := range few {
		few[i] = map[string]int{"batch": i, "offset": 0, "length": 1}
	}
	answers := map[string]any{
		"begin":      map[string]any{"answer": "run"},
		"snapshot":   map[string]any{"done": true, "attempt": "a"},
		"plan-packs": map[string]any{"many": false, "few": few, "list": "l", "bucket": "b", "results": "r"},
		"copy":       map[string]any{"batch": 0, "done": true},
		"assemble":   map[string]any{"done": true, "volume": 0, "upload": "", "next": 0},
		"seal":       map[string]any{"status": "completed"},
	}
	for _, takes := range []time.Duration{time.Second, 20 * time.Second, 80 * time.Second, 5 * time.Minute} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running, refused atomic.Int32
				invoke := func(ctx context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
					var request struct{ Step string }
					if err := json.Unmarshal(payload, &request); err != nil {
						return nil, err
					}
					defer running.Add(-1)
					if running.Add(1) > quota {
						refused.Add(1)
						return nil, throttled{}
					}
					select {
					case <-time.After(takes):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					return json.Marshal(answers[request.Step])
				}
				engine := &machine.Engine{Invoke: invoke, Rand: rand.Float64}
				input := json.RawMessage(`{"run": {"id": "20261121T020000Z-abcdef"}}`)
				outcome, err := engine.Execute(t.Context(), m, machine.Execution{Name: "throttled", Input: input})
				if err != nil || outcome.Status != machine.Succeeded {
					t.Fatalf("%+v, %v", outcome, err)
				}
				if refused.Load() == 0 {
					t.Error("nobody was refused")
				}
			})
		})
	}
}
