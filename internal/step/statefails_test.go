package step_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lifeboat/events"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
)

// TestStateSizesOfFailure: a run with the widest input and as many batches as its state may hold fails as late as it can,
// with an error of very many characters that take more bytes in a state than they have: its states stay small.
func TestStateSizesOfFailure(t *testing.T) {
	for name, text := range map[string]string{"control": "\x01", "no UTF-8": "\xff", "marks": "<", "quotes": "\"", "backslashes": "\\", "lines": "\n", "letters": "語", "separators": "\u2028"} {
		t.Run(name, func(t *testing.T) {
			few := &madeUp{t: t, objects: 156, pause: 20, size: func(int) int64 { return 8 << 20 }} // 39 batches by size
			w := &weighed{modelled: newModelled(t, s3model.Options{}), again: 1, assembles: 1, copies: map[int]int{}, cut: map[int]events.Batch{}, most: map[string]int{}}
			w.app, w.policy = few, step.Policy{Floor: 32 << 20}
			w.steps = w.newSteps()
			long := strings.Repeat(text, 50_000)
			fails := step.Boundary{Err: failure.New(failure.Corrupt, "begin %s end", long).WithHint("do %s now", long)}
			var aborted atomic.Bool
			invoke := func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
				var request events.Request
				if err := events.Decode(payload, &request); err != nil {
					return nil, err
				}
				if request.Step == "abort" {
					aborted.Store(true)
				}
				answer, err := w.invoke(ctx, function, payload)
				if request.Step == "seal" {
					return nil, fails
				}
				return answer, err
			}
			journal := filepath.Join(t.TempDir(), "run.jsonl")
			engine := &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }, Invoke: invoke}
			outcome, err := engine.Execute(t.Context(), w.machine(), machine.Execution{Name: string(firstRun), Input: widest(), Journal: journal})
			if err != nil || outcome.Error != failure.Corrupt.ErrorName() || !aborted.Load() || len(w.copies) != 40 {
				t.Fatalf("%s, %v, %d batches", outcome.Error, err, len(w.copies))
			}
			if why := step.Reason(&events.Error{Error: outcome.Error, Cause: outcome.Cause}); why.Kind != failure.Corrupt || !strings.HasPrefix(why.Error(), "begin ") || !strings.HasSuffix(why.Hint, " now") {
				t.Errorf("%v, %.40q, %.40q", why.Kind, why, why.Hint)
			}
			past, err := machine.History(journal)
			if err != nil {
				t.Fatal(err)
			}
			w.states(past)
		})
	}
}

// TestBoundaryPlain: what a stranger has put into an error is shown, not obeyed; lines stay lines.
func TestBoundaryPlain(t *testing.T) {
	got := step.Boundary{Err: failure.New(failure.Denied, "no \x1b[31m“file”\u202e\xff\nof it").WithHint("look\x07")}.Error()
	if want := "no \\x1b[31m“file”\\u202e�\nof it\nhint: look\\a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
