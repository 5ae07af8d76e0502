package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
)

// lines makes n items, 0 to n-1.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d\n", i)
	}
	return b.String()
}

// failItems fails for the given items and echoes the others.
func failItems(items ...string) function {
	return func(_ context.Context, payload any) (any, error) {
		for _, item := range items {
			if text(payload) == item {
				return nil, failure.New(failure.Corrupt, "item %s", item)
			}
		}
		return payload, nil
	}
}

func TestMapResults(t *testing.T) {
	tests := []struct{ name, state, list, output string }{
		{"inline", inlineMap(""), `[3,1,2]`, `[3,1,2]`},
		{"inline, empty", inlineMap(""), `[]`, `[]`},
		{"inline, ResultPath", inlineMap(`,"ResultSelector":{"all.$":"$","first.$":"$[0]"},"ResultPath":"$.list"`), `[3,1]`, `{"list":{"all":[3,1],"first":3}}`},
		{
			"inline, selector", inlineMap(`,"ItemSelector":{"i.$":"$$.Map.Item.Index","v.$":"$$.Map.Item.Value.n","all.$":"$.list","run.$":"$$.Execution.Name"}`), `[{"n":7}]`,
			`[{"i":0,"v":7,"all":[{"n":7}],"run":"run-1"}]`,
		},
		{"distributed", distributedMap(""), "3\n\n 1 \r\n2", `[3,1,2]`},
		{"distributed, empty", distributedMap(""), "", `[]`},
		{"distributed, numbers", distributedMap(`,"ItemSelector":{"v.$":"$$.Map.Item.Value"}`), "9007199254740993\n", `[{"v":9007199254740993}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, input := fixedEngine(&steps{}), `{"list":"list.jsonl"}`
			if strings.HasPrefix(test.name, "inline") {
				input = `{"list":` + test.list + `}`
			}
			e.Read = object(test.list)
			wantOutput(t, execute(t, e, mustLoad(t, one(test.state)), input), test.output)
		})
	}
}

// TestResultWriter: the children's outputs may be as large as they like, and nothing of them is in the state.
func TestResultWriter(t *testing.T) {
	large := func(_ context.Context, payload any) (any, error) { return strings.Repeat("x", 100<<10), nil }
	for _, test := range []struct{ name, input, want string }{
		{"large results", `{"list":"list.jsonl","prefix":"work/results"}`, ""},
		{"no prefix", `{"list":"list.jsonl"}`, nameRuntime},
		{"an empty prefix", `{"list":"list.jsonl","prefix":""}`, nameRuntime},
		{"a number", `{"list":"list.jsonl","prefix":7}`, nameRuntime},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &steps{functions: map[string]function{"F": large}}
			o := execute(t, &Engine{Invoke: s.invoke, Read: object(lines(10))}, mustLoad(t, one(distributedMap(writer))), test.input)
			if test.want == "" {
				wantOutput(t, o, test.input)
				return
			}
			if wantFailure(t, o, test.want, "refix"); len(s.calls) != 0 {
				t.Errorf("%d children ran", len(s.calls))
			}
		})
	}
}

// TestResultWriterTolerance: a failed child fails the Map as it does without a writer.
func TestResultWriterTolerance(t *testing.T) {
	for more, ok := range map[string]bool{`,"ToleratedFailureCount":0`: false, "": false, `,"ToleratedFailureCount":1`: true} {
		s := &steps{functions: map[string]function{"F": failItems("3")}}
		o := execute(t, &Engine{Invoke: s.invoke, Read: object(lines(10))}, mustLoad(t, one(distributedMap(writer+more))), `{"list":"list.jsonl","prefix":"p"}`)
		if ok {
			wantOutput(t, o, `{"list":"list.jsonl","prefix":"p"}`)
		} else {
			wantFailure(t, o, nameThreshold, "tolerated failure threshold")
		}
	}
}

// TestMapOrder: the first item ends last, and its output still comes first.
func TestMapOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(_ context.Context, payload any) (any, error) {
			n, _ := payload.(json.Number).Int64()
			time.Sleep(time.Duration(10-n) * time.Second)
			return payload, nil
		}
		e := &Engine{Invoke: (&steps{functions: map[string]function{"F": slow}}).invoke, Read: object(lines(5))}
		wantOutput(t, execute(t, e, mustLoad(t, one(strings.Replace(distributedMap(""), `"MaxConcurrency":2`, `"MaxConcurrency":5`, 1))), `{"list":"list.jsonl"}`), `[0,1,2,3,4]`)
	})
}

func TestTolerance(t *testing.T) {
	tests := []struct {
		name, more string
		failing    []string
		ok         bool
	}{
		{"default, none fails", "", nil, true},
		{"default, one fails", "", []string{"3"}, false},
		{"count, as many", `,"ToleratedFailureCount":2`, []string{"3", "4"}, true},
		{"count, more", `,"ToleratedFailureCount":2`, []string{"3", "4", "5"}, false},
		{"count 0", `,"ToleratedFailureCount":0`, []string{"3"}, false},
		{"percentage, as many", `,"ToleratedFailurePercentage":20`, []string{"3", "4"}, true},
		{"percentage, more", `,"ToleratedFailurePercentage":20`, []string{"3", "4", "5"}, false},
		{"percentage, fraction", `,"ToleratedFailurePercentage":9.9`, []string{"3"}, false},
		{"either: count exceeded", `,"ToleratedFailureCount":1,"ToleratedFailurePercentage":50`, []string{"3", "4"}, false},
		{"either: percentage exceeded", `,"ToleratedFailureCount":5,"ToleratedFailurePercentage":10`, []string{"3", "4"}, false},
		{"both kept", `,"ToleratedFailureCount":5,"ToleratedFailurePercentage":50`, []string{"3", "4"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &steps{functions: map[string]function{"F": failItems(test.failing...)}}
			e := &Engine{Invoke: s.invoke, Read: object(lines(10))}
			o := execute(t, e, mustLoad(t, one(distributedMap(test.more))), `{"list":"list.jsonl"}`)
			if !test.ok {
				wantFailure(t, o, nameThreshold, "tolerated failure threshold")
				return
			}
			var list []string
			for i := range 10 {
				if item := fmt.Sprint(i); !strings.Contains(strings.Join(test.failing, ""), item) {
					list = append(list, item)
				}
			}
			wantOutput(t, o, "["+strings.Join(list, ",")+"]")
		})
	}
}

// TestInlineFails: the child's own error fails the Map, and the other children are stopped.
func TestInlineFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Int32
		f := func(ctx context.Context, payload any) (any, error) {
			if text(payload) == "1" {
				time.Sleep(time.Second)
				return nil, failure.New(failure.Corrupt, "bad item")
			}
			<-ctx.Done()
			stopped.Add(1)
			return nil, ctx.Err()
		}
		s := &steps{functions: map[string]function{"F": f}}
		o := execute(t, &Engine{Invoke: s.invoke}, mustLoad(t, one(inlineMap(""))), `{"list":[0,1,2,3]}`)
		wantFailure(t, o, "Lifeboat.Corrupt", "bad item")
		if stopped.Load() != 1 || len(s.calls) != 2 {
			t.Errorf("%d stopped, %d calls", stopped.Load(), len(s.calls))
		}
	})
}

// TestMapRetry: a Retry on a Map runs all items again.
func TestMapRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		f := func(_ context.Context, payload any) (any, error) {
			if text(payload) == "2" && first {
				first = false
				return nil, failure.New(failure.Transient, "once")
			}
			return payload, nil
		}
		s := &steps{functions: map[string]function{"F": f}}
		e := &Engine{Invoke: s.invoke, Read: object(lines(3)), MaxConcurrency: 1}
		m := mustLoad(t, one(distributedMap(`,"Retry":[{"ErrorEquals":["States.ExceedToleratedFailureThreshold"]}]`)))
		wantOutput(t, execute(t, e, m, `{"list":"list.jsonl"}`), `[0,1,2]`)
		if len(s.calls) != 6 {
			t.Errorf("calls: %v", s.calls)
		}
	})
}

func TestMapConcurrency(t *testing.T) {
	for _, test := range []struct{ engine, want int }{{0, 7}, {3, 3}, {50, 7}} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			f := func(_ context.Context, payload any) (any, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				return payload, nil
			}
			e := &Engine{Invoke: (&steps{functions: map[string]function{"F": f}}).invoke, Read: object(lines(50)), MaxConcurrency: test.engine}
			begin := time.Now()
			execute(t, e, mustLoad(t, one(strings.Replace(distributedMap(""), `"MaxConcurrency":2`, `"MaxConcurrency":7`, 1))), `{"list":"list.jsonl"}`)
			if most.Load() > int32(test.want) || time.Since(begin) != time.Duration((50+test.want-1)/test.want)*time.Second {
				t.Errorf("%d at a time, %v", most.Load(), time.Since(begin))
			}
		})
	}
}

// TestMapExecution: the children of a DISTRIBUTED map have executions of their own, those of an INLINE one don't.
func TestMapExecution(t *testing.T) {
	names := func(state string) []string {
		state = strings.Replace(state, `"Payload.$":"$"`, `"Payload":{"name.$":"$$.Execution.Name","in.$":"$$.Execution.Input"}`, 1)
		e := fixedEngine(&steps{})
		e.Read = object("{\"a\":1}\n{\"a\":2}\n")
		input := `{"list":"list.jsonl"}`
		if strings.Contains(state, "INLINE") {
			input = `{"list":[1,2]}`
		}
		var answers []struct {
			Name string
			In   json.RawMessage
		}
		if err := json.Unmarshal(execute(t, e, mustLoad(t, one(state)), input).Output, &answers); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range answers {
			got = append(got, a.Name+" "+string(a.In))
		}
		return got
	}
	if diff := cmp.Diff([]string{`run-1 {"list":[1,2]}`, `run-1 {"list":[1,2]}`}, names(inlineMap(""))); diff != "" {
		t.Error(diff)
	}
	got := names(distributedMap(""))
	if len(got) != 2 || !strings.HasSuffix(got[0], ` {"a":1}`) || !strings.HasSuffix(got[1], ` {"a":2}`) || got[0][:36] == got[1][:36] || strings.HasPrefix(got[0], "run-1") {
		t.Errorf("%v", got)
	}
	if diff := cmp.Diff(got, names(distributedMap(""))); diff != "" {
		t.Errorf("a child's name is not the same in the next attempt: %s", diff)
	}
}

func TestMapFaults(t *testing.T) {
	half := strings.Repeat("x", maxData/2)
	tests := []struct{ name, list, state, error, cause string }{
		{"not JSON", "1\n{\"a\"\n", distributedMap(""), nameItemReader, "line 2"},
		{"two values on a line", "1 2\n", distributedMap(""), nameItemReader, "line 1"},
		{"item too large for a child", `"` + half + half + `"`, distributedMap(""), nameDataLimit, "child 0"},
		{"result too large", strings.Repeat(`"`+half+"\"\n", 3), distributedMap(""), nameDataLimit, "returned a result"},
		{"result too large, though discarded", strings.Repeat(`"`+half+"\"\n", 3), distributedMap(`,"ResultPath":null`), nameDataLimit, "returned a result"},
		{"a large item is cut by the selector", `{"id":1,"x":"` + half + half + half + `"}`, distributedMap(`,"ItemSelector":{"id.$":"$$.Map.Item.Value.id"}`), "", ""},
		{"selector", "{}\n", distributedMap(`,"ItemSelector":{"id.$":"$$.Map.Item.Value.id"}`), nameRuntime, "'id.$'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := fixedEngine(&steps{})
			e.Read = object(test.list)
			o := execute(t, e, mustLoad(t, one(test.state)), `{"list":"list.jsonl"}`)
			if test.error == "" {
				wantOutput(t, o, `[{"id":1}]`)
				return
			}
			wantFailure(t, o, test.error, test.cause)
		})
	}
}

// TestMapReadsAsItGoes: a list without an end doesn't stop a Map from failing, nor is it read far ahead.
func TestMapReadsAsItGoes(t *testing.T) {
	var read atomic.Int64
	e := &Engine{Invoke: (&steps{functions: map[string]function{"F": failItems("5")}}).invoke, Read: func(context.Context, string, string) (io.ReadCloser, error) {
		return io.NopCloser(endless{&read}), nil
	}}
	wantFailure(t, execute(t, e, mustLoad(t, one(distributedMap(""))), `{"list":"x"}`), nameThreshold, "")
	if n := read.Load(); n > 1<<20 {
		t.Errorf("read %d bytes", n)
	}
}

// endless is a list in which every item is 5.
type endless struct{ read *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	n := copy(p, "5\n")
	e.read.Add(int64(n))
	return n, nil
}
