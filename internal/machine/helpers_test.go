package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
)

// mustLoad loads a definition in which every function F is bound to "F".
func mustLoad(t *testing.T, definition string, options ...Option) *Machine {
	t.Helper()
	m, err := Load([]byte(definition), bindAll(definition), options...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bindAll binds every placeholder of a definition to its own name.
func bindAll(definition string) map[string]string {
	bind := map[string]string{}
	for _, p := range placeholder.FindAllStringSubmatch(definition, -1) {
		bind[p[1]] = p[1]
	}
	return bind
}

type function = func(ctx context.Context, payload any) (any, error)

// steps is an Invoker made of one function per name; a name without one echoes its payload.
type steps struct {
	functions map[string]function

	mu    sync.Mutex
	calls []string
}

func (s *steps) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	s.mu.Lock()
	s.calls = append(s.calls, function+" "+string(payload))
	s.mu.Unlock()
	f, ok := s.functions[function]
	if !ok {
		return payload, nil
	}
	v, err := decode(payload)
	if err != nil {
		return nil, err
	}
	answer, err := f(ctx, v)
	if err != nil {
		return nil, err
	}
	return encode(answer)
}

// failTimes returns a function that fails n times with a kind and then echoes.
func failTimes(n int, kind failure.Kind) function {
	return func(_ context.Context, payload any) (any, error) {
		if n > 0 {
			n--
			return nil, failure.New(kind, "attempt failed")
		}
		return payload, nil
	}
}

// named is an error that brings its own name.
type named string

func (n named) Error() string     { return "the message" }
func (n named) ErrorName() string { return string(n) }

// object serves one text under every key.
func object(content string) Reader {
	return func(_ context.Context, bucket, key string) (io.ReadCloser, error) {
		if bucket != "vault" || key != "list.jsonl" {
			return nil, fmt.Errorf("no object %s/%s", bucket, key)
		}
		return io.NopCloser(strings.NewReader(content)), nil
	}
}

func execute(t *testing.T, e *Engine, m *Machine, input string) Outcome {
	t.Helper()
	o, err := e.Execute(t.Context(), m, Execution{Name: "run-1", Input: json.RawMessage(input)})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantOutput(t *testing.T, o Outcome, want string) {
	t.Helper()
	if o.Status != Succeeded {
		t.Fatalf("status %s, error %s, cause %s", o.Status, o.Error, o.Cause)
	}
	if !sameJSON(o.Output, json.RawMessage(want)) {
		t.Errorf("output: %s", cmp.Diff(want, string(o.Output)))
	}
}

func wantFailure(t *testing.T, o Outcome, name, cause string) {
	t.Helper()
	if o.Status != Failed || o.Error != name || !strings.Contains(o.Cause, cause) {
		t.Errorf("got %+v, want FAILED with %s and a cause with %q", o, name, cause)
	}
}

// problems returns what Load has against a definition.
func problems(t *testing.T, definition string, options ...Option) []Problem {
	t.Helper()
	_, err := Load([]byte(definition), bindAll(definition), options...)
	if err == nil {
		return nil
	}
	loadError, ok := errors.AsType[*LoadError](err)
	if !ok || failure.KindOf(err) != failure.Internal {
		t.Fatalf("%T of kind %v: %v", err, failure.KindOf(err), err)
	}
	return loadError.Problems
}

// one wraps a state into a machine.
func one(state string) string {
	return fmt.Sprintf(`{"StartAt":"S","States":{"S":%s}}`, state)
}

// task is a state that calls F with the whole input; more are further fields.
func task(more string) string {
	return `{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"${F}","Payload.$":"$"}` + more + `}`
}

// distributedMap is a Map over list.jsonl whose children call F; more are further fields.
func distributedMap(more string) string {
	return `{"Type":"Map","MaxConcurrency":2,"End":true,
	"ItemReader":{"Resource":"arn:aws:states:::s3:getObject","ReaderConfig":{"InputType":"JSONL"},
		"Parameters":{"Bucket":"vault","Key.$":"$.list"}},
	"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"Child","States":{"Child":` +
		task(`,"OutputPath":"$.Payload","End":true`) + `}}` + more + `}`
}

// writer are the further fields of a distributedMap that writes its results below $.prefix.
const writer = `,"ResultPath":null,"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket":"vault","Prefix.$":"$.prefix"}}`

// inlineMap is a Map over $.list whose children call F; more are further fields.
func inlineMap(more string) string {
	return `{"Type":"Map","MaxConcurrency":2,"End":true,"ItemsPath":"$.list",
	"ItemProcessor":{"ProcessorConfig":{"Mode":"INLINE"},"StartAt":"Child","States":{"Child":` +
		task(`,"OutputPath":"$.Payload","End":true`) + `}}` + more + `}`
}
