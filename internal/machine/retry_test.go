package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/failure"
)

// caughtTask is a task with further fields whose every error goes to the state Caught, which ends with the input.
func caughtTask(more string) string {
	return `{"StartAt":"S","States":{"S":` + task(more+`,"OutputPath":"$.Payload","End":true,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.error","Next":"Caught"}]`) +
		`,"Caught":{"Type":"Succeed"}}}`
}

func TestRetry(t *testing.T) {
	const transient = `"ErrorEquals":["Lifeboat.Transient"]`
	tests := []struct {
		name, retry string
		fails       int
		kind        failure.Kind
		calls       int
		wait        time.Duration
		caught      bool
	}{
		{"defaults: 1, 2, 4", `{` + transient + `}`, 3, failure.Transient, 4, 7 * time.Second, false},
		{"defaults run out", `{` + transient + `}`, 4, failure.Transient, 4, 7 * time.Second, true},
		{"rate", `{` + transient + `,"IntervalSeconds":2,"BackoffRate":1.5}`, 2, failure.Transient, 3, 5 * time.Second, false},
		{"cap", `{` + transient + `,"IntervalSeconds":3,"BackoffRate":10,"MaxDelaySeconds":5,"MaxAttempts":9}`, 4, failure.Transient, 5, 18 * time.Second, false},
		{"jitter", `{` + transient + `,"IntervalSeconds":8,"JitterStrategy":"FULL"}`, 1, failure.Transient, 2, 2 * time.Second, false},
		{"never", `{` + transient + `,"MaxAttempts":0},{"ErrorEquals":["States.ALL"]}`, 1, failure.Transient, 1, 0, true},
		{"no match", `{` + transient + `}`, 1, failure.Denied, 1, 0, true},
		{"second retrier", `{` + transient + `,"MaxAttempts":0},{"ErrorEquals":["States.ALL"]}`, 1, failure.Denied, 2, time.Second, false},
		{"TaskFailed", `{"ErrorEquals":["States.TaskFailed"]}`, 1, failure.Denied, 2, time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &steps{functions: map[string]function{"F": failTimes(test.fails, test.kind)}}
				begin := time.Now()
				o := execute(t, &Engine{Invoke: s.invoke, Rand: func() float64 { return 0.25 }}, mustLoad(t, caughtTask(`,"Retry":[`+test.retry+`]`)), `{"x":1}`)
				want := `{"x":1}`
				if test.caught {
					want = fmt.Sprintf(`{"x":1,"error":{"Error":%q,"Cause":%q}}`, test.kind.ErrorName(), fmt.Sprintf(`{"errorMessage":"attempt failed","errorType":%q}`, test.kind.ErrorName()))
				}
				wantOutput(t, o, want)
				if waited := time.Since(begin); waited != test.wait || len(s.calls) != test.calls || o.Caught != test.caught {
					t.Errorf("%d calls in %v, caught %t; want %d in %v, %t", len(s.calls), waited, o.Caught, test.calls, test.wait, test.caught)
				}
			})
		})
	}
}

// TestRetryCounters: counters are per retrier and per visit, and $$.State.RetryCount is their sum.
func TestRetryCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kinds := []failure.Kind{failure.Transient, failure.Denied, failure.Transient}
		var counts []string
		e := &Engine{Invoke: (&steps{functions: map[string]function{"F": func(_ context.Context, payload any) (any, error) {
			counts = append(counts, text(payload))
			if n := len(counts); n <= len(kinds) {
				return nil, failure.New(kinds[n-1], "no")
			}
			return payload, nil
		}}}).invoke}
		m := mustLoad(t, one(strings.Replace(task(`,"End":true,"OutputPath":"$.Payload","Retry":[{"ErrorEquals":["Lifeboat.Transient"],"MaxAttempts":2},{"ErrorEquals":["Lifeboat.Denied"],"MaxAttempts":1}]`),
			`"$"`, `"$$.State.RetryCount"`, 1)))
		wantOutput(t, execute(t, e, m, `{}`), `3`)
		if got := strings.Join(counts, " "); got != "0 1 2 3" {
			t.Errorf("counts %s", got)
		}
	})
}

func TestDelayDoesNotOverflow(t *testing.T) {
	r := retrier{interval: maxSeconds * time.Second, rate: 1e6}
	if d := r.delay(300, nil); d != maxSeconds*time.Second {
		t.Errorf("%v", d)
	}
}

func TestErrorNames(t *testing.T) {
	tests := []struct {
		err  error
		name string
	}{
		{failure.New(failure.Corrupt, "x"), "Lifeboat.Corrupt"},
		{errors.New("x"), "Lifeboat.Internal"},
		{named("Lambda.TooManyRequestsException"), "Lambda.TooManyRequestsException"},
		{fmt.Errorf("wrapped: %w", named("Sandbox.Timedout")), "Sandbox.Timedout"},
	}
	for _, test := range tests {
		s := &steps{functions: map[string]function{"F": func(context.Context, any) (any, error) { return nil, test.err }}}
		o := execute(t, fixedEngine(s), mustLoad(t, one(task(`,"End":true`))), `{}`)
		wantFailure(t, o, test.name, fmt.Sprintf(`{"errorMessage":%q,"errorType":%q}`, test.err, test.name))
	}
	long := taskFault(errors.New(strings.Repeat("é", 40_000)))
	if len(long.cause) > 32_768 || !strings.Contains(long.cause, `é","errorType"`) {
		t.Errorf("a cause of %d bytes", len(long.cause))
	}
}

func TestWildcards(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{nameAll, "Lifeboat.Denied", true},
		{nameAll, nameTimeout, true},
		{nameAll, nameRuntime, false},
		{nameAll, nameDataLimit, false},
		{nameTaskFailed, "Lifeboat.Denied", true},
		{nameTaskFailed, nameTimeout, false},
		{nameTaskFailed, nameRuntime, false},
		{nameTimeout, nameTimeout, true},
		{"Lifeboat.Denied", "lifeboat.denied", false},
		{nameRuntime, nameRuntime, false},
	} {
		if got := matches([]string{test.pattern}, test.name); got != test.want {
			t.Errorf("%s matches %s: %t", test.pattern, test.name, got)
		}
	}
}

// hang waits for the end of its context.
func hang(ctx context.Context, _ any) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &steps{functions: map[string]function{"F": hang}}
		begin := time.Now()
		o := execute(t, &Engine{Invoke: s.invoke}, mustLoad(t, caughtTask(`,"TimeoutSeconds":5`)), `{}`)
		wantOutput(t, o, `{"error":{"Error":"States.Timeout","Cause":"The task took longer than 5s."}}`)
		if waited := time.Since(begin); waited != 5*time.Second {
			t.Errorf("took %v", waited)
		}
	})
	for name, definition := range map[string]string{
		"task":  caughtTask(`,"Retry":[{"ErrorEquals":["States.ALL"]}]`),
		"wait":  one(`{"Type":"Wait","Seconds":100,"End":true}`),
		"map":   one(inlineMap("")),
		"retry": caughtTask(`,"TimeoutSeconds":8,"Retry":[{"ErrorEquals":["States.Timeout"],"IntervalSeconds":60}]`),
	} {
		t.Run("run in "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &steps{functions: map[string]function{"F": hang}}
				begin := time.Now()
				m := mustLoad(t, strings.Replace(definition, `{"StartAt"`, `{"TimeoutSeconds":10,"StartAt"`, 1))
				o := execute(t, &Engine{Invoke: s.invoke}, m, `{"list":[1,2,3]}`)
				if o.Status != TimedOut || o.Error != nameTimeout || o.State != "S" || time.Since(begin) != 10*time.Second {
					t.Errorf("%+v after %v", o, time.Since(begin))
				}
			})
		})
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		wantOutput(t, execute(t, &Engine{}, mustLoad(t, one(`{"Type":"Wait","Seconds":90,"End":true}`)), `{"x":1}`), `{"x":1}`)
		if waited := time.Since(begin); waited != 90*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestEventLimit loops until the history is full: a Task and a Choice cost 7 events a turn.
func TestEventLimit(t *testing.T) {
	s := &steps{}
	m := mustLoad(t, `{"StartAt":"S","States":{"S":`+task(`,"ResultPath":null,"Next":"C","Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"C"}]`)+
		`,"C":{"Type":"Choice","Choices":[{"Variable":"$.x","IsPresent":true,"Next":"E"}],"Default":"S"},"E":{"Type":"Succeed"}}}`)
	wantFailure(t, execute(t, fixedEngine(s), m, `{}`), nameRuntime, "25000")
	if turns := len(s.calls); turns != 3571 {
		t.Errorf("%d turns", turns)
	}
}
