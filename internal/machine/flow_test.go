package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theory/jsonpath"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fixedEngine(s *steps) *Engine {
	return &Engine{Invoke: s.invoke, Now: func() time.Time { return noon }}
}

// TestDataFlow walks one state with the input {"a":{"b":1},"n":9007199254740993}.
func TestDataFlow(t *testing.T) {
	const input = `{"a":{"b":1},"n":9007199254740993}`
	tests := []struct{ name, state, output string }{
		{"defaults", pass(""), input},
		{"InputPath", pass(`,"InputPath":"$.a"`), `{"b":1}`},
		{"InputPath null", pass(`,"InputPath":null`), `{}`},
		{"OutputPath", pass(`,"OutputPath":"$.a.b"`), `1`},
		{"OutputPath null", pass(`,"OutputPath":null`), `{}`},
		{"ResultPath writes into the raw input", pass(`,"InputPath":"$.a","ResultPath":"$.r"`), `{"a":{"b":1},"n":9007199254740993,"r":{"b":1}}`},
		{"ResultPath makes objects", pass(`,"Result":[2],"ResultPath":"$.x.y"`), `{"a":{"b":1},"n":9007199254740993,"x":{"y":[2]}}`},
		{"ResultPath overwrites", pass(`,"Result":true,"ResultPath":"$.a['b']"`), `{"a":{"b":true},"n":9007199254740993}`},
		{"ResultPath null", pass(`,"Result":2,"ResultPath":null`), input},
		{"all together", pass(`,"InputPath":"$.a","Parameters":{"p.$":"$.b"},"ResultPath":"$.a.r","OutputPath":"$.a"`), `{"b":1,"r":{"p":1}}`},
		{"template", pass(`,"Parameters":{"n.$":"$.n","deep":[{"b.$":"$.a.b"},"$.a"],"c.$":"$$.Execution.Name"}`), `{"n":9007199254740993,"deep":[{"b":1},"$.a"],"c":"run-1"}`},
		{"format", pass(`,"Parameters":{"s.$":"States.Format('{}-{} {} \\{\\} it\\'s \\\\ {}', $.n, 'x', null, States.Format('<{}>', true))"}`), `{"s":"9007199254740993-x null {} it's \\ <true>"}`},
		{"lambda:invoke wraps", task(""), `{"ExecutedVersion":"$LATEST","StatusCode":200,"Payload":` + input + `}`},
		{"ResultSelector", task(`,"ResultSelector":{"b.$":"$.Payload.a.b"},"ResultPath":"$.r","OutputPath":"$.r"`), `{"b":1}`},
		{
			"context", pass(`,"Parameters":{"id.$":"$$.Execution.Id","in.$":"$$.Execution.Input.a","at.$":"$$.Execution.StartTime","s.$":"$$.State.Name","e.$":"$$.State.EnteredTime","r.$":"$$.State.RetryCount","m.$":"$$.StateMachine.Name","role.$":"$$.Execution.RoleArn","mid.$":"$$.StateMachine.Id"}`),
			`{"id":"arn:aws:states:local:000000000000:execution:machine:run-1","in":{"b":1},"at":"2026-03-01T12:00:00.000Z","s":"S","e":"2026-03-01T12:00:00.000Z","r":0,"m":"machine","role":"arn:aws:iam::000000000000:role/local","mid":"arn:aws:states:local:000000000000:stateMachine:machine"}`,
		},
		{"InputPath from the context", pass(`,"InputPath":"$$.Execution.Input.a"`), `{"b":1}`},
		{"Wait", `{"Type":"Wait","Seconds":0,"InputPath":"$.a"}`, `{"b":1}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := mustLoad(t, one(strings.TrimSuffix(test.state, "}")+`,"End":true}`))
			wantOutput(t, execute(t, fixedEngine(&steps{}), m, input), test.output)
		})
	}
	wantOutput(t, execute(t, &Engine{}, mustLoad(t, one(`{"Type":"Succeed","OutputPath":"$.a"}`)), input), `{"b":1}`)
}

// TestFaults are the errors that the runner itself raises.
func TestFaults(t *testing.T) {
	const end = `,"End":true`
	big := `"` + strings.Repeat("x", maxData-1) + `"` // one byte too many
	tests := []struct{ name, state, input, error, cause string }{
		{
			"missing path", pass(end + `,"Parameters":{"b.$":"$.a"}`), `{"x":1}`, nameRuntime,
			`The JSONPath '$.a' specified for the field 'b.$' could not be found in the input '{"x":1}'`,
		},
		{"missing in format", pass(end + `,"Parameters":{"b.$":"States.Format('{}', $.a)"}`), `{}`, nameRuntime, "'States.Format('{}', $.a)'"},
		{"object in format", pass(end + `,"Parameters":{"b.$":"States.Format('{}', $)"}`), `{}`, nameIntrinsic, "takes no objects"},
		{"InputPath", pass(end + `,"InputPath":"$.a"`), `{}`, nameRuntime, "Invalid path '$.a'"},
		{"OutputPath", pass(end + `,"OutputPath":"$.a"`), `{}`, nameRuntime, "Invalid path '$.a'"},
		{"ResultPath below a number", pass(end + `,"ResultPath":"$.a.b"`), `{"a":1}`, nameResultMismatch, "$.a.b"},
		{"ResultPath in an array", pass(end + `,"ResultPath":"$.a"`), `[]`, nameResultMismatch, "$.a"},
		{"no choice", one0(`{"Variable":"$.a","IsPresent":true,"Next":"S"}`), `{}`, nameNoChoice, "no Default"},
		{"choice without the variable", one0(`{"Variable":"$.a","NumericEquals":1,"Next":"S"}`), `{}`, nameRuntime, "Invalid path '$.a'"},
		{"Fail", `{"Type":"Fail","Error":"E","Cause":"C"}`, `{}`, "E", "C"},
		{"Fail by path", `{"Type":"Fail","ErrorPath":"$.e.Error","CausePath":"States.Format('c{}',$.e.n)"}`, `{"e":{"Error":"X","n":1}}`, "X", "c1"},
		{"Fail without the path", `{"Type":"Fail","ErrorPath":"$.e"}`, `{}`, nameRuntime, "'ErrorPath'"},
		{"Fail with a number", `{"Type":"Fail","CausePath":"$.e"}`, `{"e":1}`, nameRuntime, "must be a string"},
		{"large input", pass(end), big, nameDataLimit, "262145"},
		{"large parameters", task(end), big[:maxData-1] + `"`, nameDataLimit, "parameters"},
		{"large output", pass(end + `,"ResultPath":"$.b"`), `{"a":` + big[:maxData/2] + `"}`, nameDataLimit, "an output"},
		{"items that are none", inlineMap(""), `{"list":{}}`, nameRuntime, "must point to array"},
		{"items that are missing", inlineMap(""), `{}`, nameRuntime, "Invalid path '$.list'"},
		{"no object to read", distributedMap(""), `{"list":"other"}`, nameItemReader, "no object vault/other"},
		{"no key to read", distributedMap(""), `{}`, nameRuntime, "'Key.$'"},
		{"selector", inlineMap(`,"ItemSelector":{"x.$":"$.x"}`), `{"list":[1]}`, nameRuntime, "'x.$'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := fixedEngine(&steps{})
			e.Read = object("")
			wantFailure(t, execute(t, e, mustLoad(t, one(test.state)), test.input), test.error, test.cause)
		})
	}
}

// one0 is a Choice of one rule and no Default.
func one0(rule string) string { return `{"Type":"Choice","Choices":[` + rule + `]}` }

func TestLargeResult(t *testing.T) {
	f := strings.Repeat("x", maxData)
	s := &steps{functions: map[string]function{"F": func(context.Context, any) (any, error) { return f, nil }}}
	states := `{"StartAt":"S","States":{"S":` + task(`,"ResultPath":null,"End":true,"Retry":[{"ErrorEquals":["States.ALL"]}],"Catch":[{"ErrorEquals":["States.TaskFailed"],"ResultPath":"$.e","Next":"T"}]`) + `,"T":{"Type":"Succeed"}}}`
	wantFailure(t, execute(t, fixedEngine(s), mustLoad(t, states), `{}`), nameDataLimit, "a result")
	if len(s.calls) != 1 {
		t.Errorf("%d calls", len(s.calls))
	}
}

func TestChoice(t *testing.T) {
	const input = `{"s":"abc","n":9007199254740993,"m":9007199254740992,"f":1.50,"b":true,"z":null,"t":"2026-03-01T12:00:00+01:00","u":"2026-03-01T11:00:00Z","star":"a*c","list":[]}`
	tests := []struct {
		rule string
		want bool
	}{
		{`"Variable":"$.s","StringEquals":"abc"`, true},
		{`"Variable":"$.s","StringEquals":"ABC"`, false},
		{`"Variable":"$.n","StringEquals":"abc"`, false},
		{`"Variable":"$.s","StringLessThan":"abd"`, true},
		{`"Variable":"$.s","StringGreaterThanEquals":"abc"`, true},
		{`"Variable":"$.s","StringEqualsPath":"$.s"`, true},
		{`"Variable":"$.s","StringMatches":"a*"`, true},
		{`"Variable":"$.s","StringMatches":"*b**c"`, true},
		{`"Variable":"$.s","StringMatches":"a"`, false},
		{`"Variable":"$.s","StringMatches":"a\\*c"`, false},
		{`"Variable":"$.star","StringMatches":"a\\*c"`, true},
		{`"Variable":"$.n","NumericEqualsPath":"$.m"`, false},
		{`"Variable":"$.n","NumericGreaterThanPath":"$.m"`, true},
		{`"Variable":"$.f","NumericEquals":1.5`, true},
		{`"Variable":"$.f","NumericLessThanEquals":15e-1`, true},
		{`"Variable":"$.s","NumericLessThan":5`, false},
		{`"Variable":"$.b","BooleanEquals":true`, true},
		{`"Variable":"$.b","BooleanEqualsPath":"$.s"`, false},
		{`"Variable":"$.t","TimestampEqualsPath":"$.u"`, true},
		{`"Variable":"$.t","TimestampLessThan":"2026-03-01T11:00:01Z"`, true},
		{`"Variable":"$.s","TimestampLessThan":"2026-03-01T11:00:01Z"`, false},
		{`"Variable":"$.z","IsNull":true`, true},
		{`"Variable":"$.s","IsNull":false`, true},
		{`"Variable":"$.none","IsPresent":false`, true},
		{`"Variable":"$.z","IsPresent":true`, true},
		{`"Variable":"$.list[0]","IsPresent":true`, false},
		{`"Variable":"$.n","IsNumeric":true`, true},
		{`"Variable":"$.s","IsString":true`, true},
		{`"Variable":"$.b","IsBoolean":true`, true},
		{`"Variable":"$.t","IsTimestamp":true`, true},
		{`"Variable":"$.s","IsTimestamp":false`, true},
		{`"Variable":"$$.State.RetryCount","NumericEquals":0`, true},
		{`"Not":{"Variable":"$.b","BooleanEquals":true}`, false},
		{`"And":[{"Variable":"$.none","IsPresent":true},{"Variable":"$.none","IsNull":true}]`, false},
		{`"And":[{"Variable":"$.b","IsPresent":true},{"Variable":"$.b","BooleanEquals":true}]`, true},
		{`"Or":[{"Variable":"$.b","BooleanEquals":true},{"Variable":"$.none","IsNull":true}]`, true},
		{`"Or":[{"Variable":"$.z","IsNull":false},{"Variable":"$.b","BooleanEquals":false}]`, false},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			m := mustLoad(t, `{"StartAt":"S","States":{"S":{"Type":"Choice","Choices":[{`+test.rule+`,"Next":"Yes"}],"Default":"No"},
				"Yes":{"Type":"Pass","Result":true,"End":true},"No":{"Type":"Pass","Result":false,"End":true}}}`)
			wantOutput(t, execute(t, fixedEngine(&steps{}), m, input), fmt.Sprint(test.want))
		})
	}
}

func TestFirstRuleWins(t *testing.T) {
	m := mustLoad(t, `{"StartAt":"S","States":{"S":{"Type":"Choice","InputPath":"$.a","Choices":[
		{"Variable":"$.n","NumericGreaterThan":5,"Next":"A"},{"Variable":"$.n","NumericGreaterThan":1,"Next":"B"},{"Variable":"$.n","NumericGreaterThan":0,"Next":"A"}]},
		"A":{"Type":"Pass","Result":"A","End":true},"B":{"Type":"Succeed"}}}`)
	wantOutput(t, execute(t, fixedEngine(&steps{}), m, `{"a":{"n":2}}`), `{"n":2}`)
}

// TestPathsAgainstLibrary compares with an independent implementation of RFC 9535.
func TestPathsAgainstLibrary(t *testing.T) {
	data, err := decode([]byte(`{"a":{"b":[1,{"c d":"x"}],"":2},"it's":[[3]],"é":null}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{"$", "$.a", "$.a.b[1]", "$.a.b[2]", "$.a.b[1]['c d']", `$['it\'s'][0][0]`, "$.é", "$.a['']", "$.a[0]", "$.none.x"} {
		p, err := parsePath(src)
		if err != nil {
			t.Fatal(err)
		}
		var want []any = jsonpath.MustParse(src).Select(data)
		var got []any
		if v, ok := p.find(data); ok {
			got = []any{v}
		}
		if diff := cmp.Diff(text(want), text(append([]any{}, got...))); diff != "" {
			t.Errorf("%s: %s", src, diff)
		}
	}
	for _, src := range []string{"", "a", "$a", "$.", "$..a", "$[*]", "$.*", "$[-1]", "$[01]", "$[0", "$['a", "$['a'x]", `$["a"]`, "$[?(@.a)]", "$[0:1]", "$.a b", "$.1a", `$['\n']`, "$.a.length()"} {
		if p, err := parsePath(src); err == nil {
			t.Errorf("%q is read as %v", src, p.steps)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for _, src := range []string{
		"States.Format", "States.Format(", "States.Format()", "States.Format($.a)", "States.Format('{')", "States.Format('}')", "States.Format('a', $.a)",
		"States.Format('{}' $.a)", "States.Format('{}', )", "States.Format('{}', x)", "States.Format('{}', 'a)", `States.Format('\n')`, "States.Format('a') b",
		"States.Array(1)", "States.MathRandom(1,2)", "States.Format('{}', States.UUID())",
		"States.Format('{}', " + strings.Repeat("States.Format('{}', ", 10) + "1" + strings.Repeat(")", 11),
	} {
		if _, err := parseExpression(src); err == nil {
			t.Errorf("%s is accepted", src)
		}
	}
}

func TestInputsStayAsTheyWere(t *testing.T) {
	raw := map[string]any{"a": map[string]any{"b": json.Number("1")}}
	before := text(raw)
	p, _ := parsePath("$.a.b")
	if out, ok := p.write(raw, "new"); !ok || text(out) != `{"a":{"b":"new"}}` {
		t.Errorf("wrote %s", text(out))
	}
	if text(raw) != before {
		t.Errorf("the input became %s", text(raw))
	}
}
