package machine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pass(more string) string { return `{"Type":"Pass"` + more + `}` }

// refusal is a definition with one mistake.
type refusal struct {
	name, definition, path, message string
}

// wantRefusals expects of every definition a problem at its path, with its message.
func wantRefusals(t *testing.T, tests []refusal) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found := problems(t, test.definition)
			for _, p := range found {
				if p.Path == test.path && strings.Contains(p.Message, test.message) {
					return
				}
			}
			t.Errorf("no %q at %s in %v", test.message, test.path, found)
		})
	}
}

// TestLoadRefusesShapes has mistakes of the text, the graph, tasks and placeholders.
func TestLoadRefusesShapes(t *testing.T) {
	const end = `,"End":true`
	catch := func(c string) string { return one(task(`,"End":true,"Catch":` + c)) }
	choice := func(rule string) string {
		return fmt.Sprintf(`{"StartAt":"S","States":{"S":{"Type":"Choice","Choices":[%s]},"D":{"Type":"Succeed"}}}`, rule)
	}
	mapped := func(old, new string) string { return one(strings.Replace(inlineMap(""), old, new, 1)) }
	wantRefusals(t, []refusal{
		{"not JSON", `{"StartAt":`, "$.StartAt", "not JSON"},
		{"not an object", `[]`, "$", "expected an object"},
		{"null", `null`, "$", "expected an object"},
		{"two values", one(pass(end)) + `{}`, "$", "more than one JSON value"},
		{"not UTF-8", one(pass(end + `,"Comment":"` + "\xff" + `"`)), "$", "not UTF-8"},
		{"too deep", strings.Repeat("[", 200), "$" + strings.Repeat("[0]", 101), "deep"},
		{"too large", `{"Comment":"` + strings.Repeat("x", 1<<20) + `"}`, "$", "at most 1048576"},
		{"duplicate key", one(pass(end + `,"End":true`)), "$.States.S.End", "twice"},
		{"unknown field of the machine", `{"StartAt":"S","Foo":1,"States":{"S":{"Type":"Succeed"}}}`, "$.Foo", "unknown field"},
		{"unknown field of a state", one(pass(end + `,"Foo":1`)), "$.States.S.Foo", "unknown field"},
		{"odd names in paths", `{"StartAt":"My S","States":{"My S":{"Type":"Succeed","it's":1}}}`, `$.States['My S']['it\'s']`, "unknown field"},
		{"JSONata", `{"StartAt":"S","QueryLanguage":"JSONata","States":{"S":{"Type":"Succeed"}}}`, "$.QueryLanguage", "JSONata"},
		{"JSONata of a state", one(pass(end + `,"QueryLanguage":"JSONata"`)), "$.States.S.QueryLanguage", "JSONata"},
		{"Assign", one(pass(end + `,"Assign":{}`)), "$.States.S.Assign", "variables"},
		{"Arguments", one(task(end + `,"Arguments":{}`)), "$.States.S.Arguments", "JSONata"},
		{"Output", one(pass(end + `,"Output":{}`)), "$.States.S.Output", "JSONata"},
		{"Parallel", one(`{"Type":"Parallel","Branches":[],"End":true}`), "$.States.S.Type", `"Parallel" is not supported`},
		{"no Type", one(`{"End":true}`), "$.States.S", "Type is missing"},
		{"no StartAt", `{"States":{"S":{"Type":"Succeed"}}}`, "$", "StartAt is missing"},
		{"no States", `{"StartAt":"S"}`, "$", "States is missing"},
		{"StartAt without a target", `{"StartAt":"X","States":{"S":{"Type":"Succeed"}}}`, "$.StartAt", `no state "X"`},
		{"dangling Next", one(pass(`,"Next":"X"`)), "$.States.S.Next", `no state "X"`},
		{"dangling Catch", catch(`[{"ErrorEquals":["States.ALL"],"ResultPath":"$.error","Next":"X"}]`), "$.States.S.Catch[0].Next", `no state "X"`},
		{"dangling choice", choice(`{"Variable":"$.a","IsPresent":true,"Next":"X"}`), "$.States.S.Choices[0].Next", `no state "X"`},
		{"dangling Default", one(`{"Type":"Choice","Choices":[{"Variable":"$.a","IsPresent":true,"Next":"S"}],"Default":"X"}`), "$.States.S.Default", `no state "X"`},
		{"Next out of a processor", mapped(`"OutputPath":"$.Payload","End":true`, `"Next":"S"`), "$.States.S.ItemProcessor.States.Child.Next", `no state "S"`},
		{"unreachable", `{"StartAt":"S","States":{"S":{"Type":"Succeed"},"T":{"Type":"Succeed"}}}`, "$.States.T", "no state leads here"},
		{"no Next", one(pass("")), "$.States.S", "neither Next nor End"},
		{"Next and End", one(pass(`,"Next":"S"` + end)), "$.States.S", "exclude"},
		{"End false", one(pass(`,"End":false`)), "$.States.S.End", "expected true"},
		{"unknown Resource", one(strings.Replace(task(end), "lambda:invoke", "sqs:sendMessage", 1)), "$.States.S.Resource", "not supported"},
		{"Resource a placeholder", one(strings.Replace(task(end), "arn:aws:states:::lambda:invoke", "${R}", 1)), "$.States.S.Resource", "placeholder"},
		{"function not a placeholder", one(strings.Replace(task(end), "${F}", "copy", 1)), "$.States.S.Parameters.FunctionName", "exactly one placeholder"},
		{"function with a suffix", one(strings.Replace(task(end), "${F}", "${F}:1", 1)), "$.States.S.Parameters.FunctionName", "exactly one placeholder"},
		{"no Payload", one(strings.Replace(task(end), `,"Payload.$":"$"`, "", 1)), "$.States.S.Parameters", "Payload is missing"},
		{"other parameter", one(strings.Replace(task(end), `"Payload.$"`, `"InvocationType":"Event","Payload.$"`, 1)), "$.States.S.Parameters.InvocationType", "unknown field"},
		{"no Parameters", one(`{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true}`), "$.States.S", "Parameters is missing"},
		{"placeholder outside of a string", one(`{"Type":"Wait","Seconds":${N},"End":true}`), "$.States.S.Seconds", "outside of a JSON string"},
		{"placeholder in a name", one(pass(end + `,"Result":{"${N}":1}`)), "$.States.S.Result['${N}']", "in a name"},
		{"placeholder in Next", one(pass(`,"Next":"${N}"`)), "$.States.S.Next", "may not stand here"},
		{"broken placeholder", one(pass(end + `,"Comment":"${N"`)), "$.States.S.Comment", "write ${Name}"},
	})
}

// TestLoadRefusesErrorHandling has mistakes of Retry and Catch, and of state names.
func TestLoadRefusesErrorHandling(t *testing.T) {
	const end = `,"End":true`
	retry := func(r string) string { return one(task(`,"End":true,"Retry":` + r)) }
	catch := func(c string) string { return one(task(`,"End":true,"Catch":` + c)) }
	mapped := func(old, new string) string { return one(strings.Replace(inlineMap(""), old, new, 1)) }
	wantRefusals(t, []refusal{
		{"States.ALL not alone", retry(`[{"ErrorEquals":["States.ALL","States.Timeout"]}]`), "$.States.S.Retry[0].ErrorEquals", "alone"},
		{"States.ALL not last", retry(`[{"ErrorEquals":["States.ALL"]},{"ErrorEquals":["States.Timeout"]}]`), "$.States.S.Retry[0].ErrorEquals", "last"},
		{"States.ALL not last in Catch", catch(`[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"S"},{"ErrorEquals":["States.Timeout"],"ResultPath":"$.e","Next":"S"}]`), "$.States.S.Catch[0].ErrorEquals", "last"},
		{"unknown error name", retry(`[{"ErrorEquals":["Lifeboat.Transiant"]}]`), "$.States.S.Retry[0].ErrorEquals[0]", "nothing raises"},
		{"case of an error name", retry(`[{"ErrorEquals":["lifeboat.transient"]}]`), "$.States.S.Retry[0].ErrorEquals[0]", "nothing raises"},
		{"States.Runtime", retry(`[{"ErrorEquals":["States.Runtime"]}]`), "$.States.S.Retry[0].ErrorEquals[0]", "nothing can match"},
		{"no ErrorEquals", retry(`[{}]`), "$.States.S.Retry[0]", "ErrorEquals is missing"},
		{"empty ErrorEquals", retry(`[{"ErrorEquals":[]}]`), "$.States.S.Retry[0].ErrorEquals", "not empty"},
		{"unknown field of a retrier", retry(`[{"ErrorEquals":["States.ALL"],"Max":1}]`), "$.States.S.Retry[0].Max", "unknown field"},
		{"MaxAttempts -1", retry(`[{"ErrorEquals":["States.ALL"],"MaxAttempts":-1}]`), "$.States.S.Retry[0].MaxAttempts", "whole number"},
		{"BackoffRate below 1", retry(`[{"ErrorEquals":["States.ALL"],"BackoffRate":0.5}]`), "$.States.S.Retry[0].BackoffRate", "number from 1"},
		{"jitter", retry(`[{"ErrorEquals":["States.ALL"],"JitterStrategy":"HALF"}]`), "$.States.S.Retry[0].JitterStrategy", "FULL or NONE"},
		{"MaxDelaySeconds", retry(`[{"ErrorEquals":["States.ALL"],"IntervalSeconds":9,"MaxDelaySeconds":5}]`), "$.States.S.Retry[0].MaxDelaySeconds", "less than"},
		{"Catch without ResultPath", catch(`[{"ErrorEquals":["States.ALL"],"Next":"S"}]`), "$.States.S.Catch[0]", "needs a ResultPath"},
		{"Retry on a Choice", one(`{"Type":"Choice","Retry":[{"ErrorEquals":["States.ALL"]}],"Choices":[{"Variable":"$.a","IsNull":true,"Next":"S"}]}`), "$.States.S.Retry", "takes no Retry"},
		{"Catch on a Pass", one(pass(end + `,"Catch":[{"ErrorEquals":["States.ALL"],"Next":"S","ResultPath":"$.e"}]`)), "$.States.S.Catch", "takes no Catch"},
		{"duplicate state name", mapped(`"StartAt":"Child","States":{"Child"`, `"StartAt":"S","States":{"S"`), "$.States.S.ItemProcessor.States.S", "already used at $.States.S"},
		{"long state name", fmt.Sprintf(`{"StartAt":%q,"States":{%[1]q:{"Type":"Succeed"}}}`, strings.Repeat("é", 81)), "$.States." + strings.Repeat("é", 81), "1 to 80"},
	})
}

// TestLoadRefusesMaps has mistakes of Map states.
func TestLoadRefusesMaps(t *testing.T) {
	mapped := func(old, new string) string { return one(strings.Replace(inlineMap(""), old, new, 1)) }
	spread := func(old, new string) string { return one(strings.Replace(distributedMap(""), old, new, 1)) }
	written := func(old, new string) string { return one(distributedMap(strings.Replace(writer, old, new, 1))) }
	wantRefusals(t, []refusal{
		{"label too long", one(distributedMap(`,"Label":"` + strings.Repeat("x", 41) + `"`)), "$.States.S.Label", "1 to 40"},
		{"label with a blank", one(distributedMap(`,"Label":"a b"`)), "$.States.S.Label", "whitespace"},
		{"label with a sign", one(distributedMap(`,"Label":"a&b"`)), "$.States.S.Label", "none of"},
		{"label on INLINE", one(inlineMap(`,"Label":"a"`)), "$.States.S.Label", "INLINE"},
		{"ItemReader on INLINE", one(inlineMap(`,"ItemReader":{}`)), "$.States.S.ItemReader", "INLINE"},
		{"count on INLINE", one(inlineMap(`,"ToleratedFailureCount":1`)), "$.States.S.ToleratedFailureCount", "INLINE"},
		{"percentage on INLINE", one(inlineMap(`,"ToleratedFailurePercentage":1`)), "$.States.S.ToleratedFailurePercentage", "INLINE"},
		{"200 %", one(distributedMap(`,"ToleratedFailurePercentage":200`)), "$.States.S.ToleratedFailurePercentage", "from 0 to 100"},
		{"ItemBatcher", one(distributedMap(`,"ItemBatcher":{}`)), "$.States.S.ItemBatcher", "not supported"},
		{"ResultWriter on INLINE", one(inlineMap(`,"ResultWriter":{}`)), "$.States.S.ResultWriter", "INLINE"},
		{"writer whose result is read", written(`,"ResultPath":null`, ``), "$.States.S.ResultWriter", "ResultPath null"},
		{"writer whose result is kept", written(`"ResultPath":null`, `"ResultPath":"$.map"`), "$.States.S.ResultWriter", "ResultPath null"},
		{"writer with a selector", written(`"ResultPath":null`, `"ResultPath":null,"ResultSelector":{"x":1}`), "$.States.S.ResultWriter", "no ResultSelector"},
		{"other writer", written(`s3:putObject`, `s3:getObject`), "$.States.S.ResultWriter.Resource", "use arn:aws:states:::s3:putObject"},
		{"writer without a Resource", written(`"Resource":"arn:aws:states:::s3:putObject",`, ``), "$.States.S.ResultWriter", "Resource is missing"},
		{"writer without Parameters", one(distributedMap(`,"ResultPath":null,"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject"}`)), "$.States.S.ResultWriter", "Parameters is missing"},
		{"writer without a Prefix", written(`,"Prefix.$":"$.prefix"`, ``), "$.States.S.ResultWriter.Parameters", "Prefix is missing"},
		{"writer without a Bucket", written(`"Bucket":"vault",`, ``), "$.States.S.ResultWriter.Parameters", "Bucket is missing"},
		{"writer with a Key", written(`"Prefix.$"`, `"Key":"x","Prefix.$"`), "$.States.S.ResultWriter.Parameters.Key", "unknown field"},
		{"WriterConfig", written(`"Resource":"arn:aws:states:::s3:putObject"`, `"Resource":"arn:aws:states:::s3:putObject","WriterConfig":{}`), "$.States.S.ResultWriter.WriterConfig", "by default"},
		{"writer of nothing", one(distributedMap(`,"ResultWriter":7`)), "$.States.S.ResultWriter", "expected an object"},
		{"EXPRESS", spread(`"STANDARD"`, `"EXPRESS"`), "$.States.S.ItemProcessor.ProcessorConfig.ExecutionType", "use STANDARD"},
		{"no ExecutionType", spread(`,"ExecutionType":"STANDARD"`, ``), "$.States.S.ItemProcessor.ProcessorConfig", "ExecutionType is missing"},
		{"bad InputType", spread(`"JSONL"`, `"JSONLINES"`), "$.States.S.ItemReader.ReaderConfig.InputType", "use JSONL"},
		{"other reader", spread(`s3:getObject`, `s3:listObjectsV2`), "$.States.S.ItemReader.Resource", "not supported"},
		{"reader without a Key", spread(`,"Key.$":"$.list"`, ``), "$.States.S.ItemReader.Parameters", "Key is missing"},
		{"ItemsPath and ItemReader", one(distributedMap(`,"ItemsPath":"$.list"`)), "$.States.S.ItemsPath", "exclude"},
		{"no MaxConcurrency", mapped(`"MaxConcurrency":2,`, ``), "$.States.S", "MaxConcurrency is missing"},
		{"MaxConcurrency 0", spread(`"MaxConcurrency":2`, `"MaxConcurrency":0`), "$.States.S.MaxConcurrency", "from 1 to 10000"},
		{"MaxConcurrency 41 inline", mapped(`"MaxConcurrency":2`, `"MaxConcurrency":41`), "$.States.S.MaxConcurrency", "from 1 to 40"},
		{"no ItemProcessor", one(`{"Type":"Map","MaxConcurrency":1,"End":true}`), "$.States.S", "ItemProcessor is missing"},
	})
}

// TestLoadRefusesData has mistakes of paths, templates, choices and the other states.
func TestLoadRefusesData(t *testing.T) {
	const end = `,"End":true`
	choice := func(rule string) string {
		return fmt.Sprintf(`{"StartAt":"S","States":{"S":{"Type":"Choice","Choices":[%s]},"D":{"Type":"Succeed"}}}`, rule)
	}
	wantRefusals(t, []refusal{
		{"x and x.$", one(pass(end + `,"Parameters":{"x":1,"x.$":"$.a"}`)), "$.States.S.Parameters['x.$']", "exclude"},
		{".$ with a text", one(pass(end + `,"Parameters":{"x.$":"a"}`)), "$.States.S.Parameters['x.$']", "neither a path"},
		{".$ with a number", one(pass(end + `,"Parameters":{"x.$":1}`)), "$.States.S.Parameters['x.$']", "expected a string"},
		{".$ in an array", one(pass(end + `,"Parameters":{"a":[{"x.$":"b"}]}`)), "$.States.S.Parameters.a[0]['x.$']", "neither a path"},
		{"variable", one(pass(end + `,"Parameters":{"x.$":"$name"}`)), "$.States.S.Parameters['x.$']", "variables are not supported"},
		{"other intrinsic", one(pass(end + `,"Parameters":{"x.$":"States.UUID()"}`)), "$.States.S.Parameters['x.$']", `"States.UUID" is not supported`},
		{"broken intrinsic", one(pass(end + `,"Parameters":{"x.$":"States.Format('{}')"}`)), "$.States.S.Parameters['x.$']", "1 {} and 0 arguments"},
		{"wildcard", one(pass(end + `,"InputPath":"$.a[*]"`)), "$.States.S.InputPath", "not an index"},
		{"unquoted hyphen", one(pass(end + `,"OutputPath":"$.a-b"`)), "$.States.S.OutputPath", "unexpected"},
		{"ResultPath with an index", one(pass(end + `,"ResultPath":"$.a[0]"`)), "$.States.S.ResultPath", "not a reference path"},
		{"ResultPath into the context", one(pass(end + `,"ResultPath":"$$.Execution.Input"`)), "$.States.S.ResultPath", "not a reference path"},
		{"unknown context", one(pass(end + `,"Parameters":{"x.$":"$$.Task.Token"}`)), "$.States.S.Parameters['x.$']", "not in the context"},
		{"Map.Item outside of ItemSelector", one(pass(end + `,"Parameters":{"x.$":"$$.Map.Item.Index"}`)), "$.States.S.Parameters['x.$']", "ItemSelector only"},
		{"ResultSelector beside Payload", one(task(end + `,"ResultSelector":{"x.$":"$.SdkHttpMetadata"}`)), "$.States.S.ResultSelector['x.$']", "only $.Payload"},
		{"Choice without Variable", choice(`{"StringEquals":"a","Next":"D"}`), "$.States.S.Choices[0]", "Variable is missing"},
		{"Choice without comparison", choice(`{"Variable":"$.a","Next":"D"}`), "$.States.S.Choices[0]", "exactly one comparison, not 0"},
		{"Choice with two", choice(`{"Variable":"$.a","IsNull":true,"IsString":true,"Next":"D"}`), "$.States.S.Choices[0]", "exactly one comparison, not 2"},
		{"unknown operator", choice(`{"Variable":"$.a","StringLike":"x","Next":"D"}`), "$.States.S.Choices[0].StringLike", "unknown comparison"},
		{"operator's constant", choice(`{"Variable":"$.a","NumericEquals":"1","Next":"D"}`), "$.States.S.Choices[0].NumericEquals", "expected a number"},
		{"nested Next", choice(`{"And":[{"Variable":"$.a","IsNull":true,"Next":"D"}],"Next":"D"}`), "$.States.S.Choices[0].And[0].Next", "unknown comparison"},
		{"Choice without Next", choice(`{"Variable":"$.a","IsNull":true}`), "$.States.S.Choices[0]", "Next is missing"},
		{"no choices", one(`{"Type":"Choice","Choices":[]}`), "$.States.S.Choices", "not empty"},
		{"Error and ErrorPath", one(`{"Type":"Fail","Error":"a","ErrorPath":"$.a"}`), "$.States.S", "Error and ErrorPath exclude"},
		{"Cause and CausePath", one(`{"Type":"Fail","Cause":"a","CausePath":"$.a"}`), "$.States.S", "Cause and CausePath exclude"},
		{"SecondsPath", one(`{"Type":"Wait","SecondsPath":"$.a","End":true}`), "$.States.S.SecondsPath", "use Seconds"},
		{"TimeoutSeconds 0", one(task(end + `,"TimeoutSeconds":0`)), "$.States.S.TimeoutSeconds", "from 1"},
		{"Result and Parameters", one(pass(end + `,"Result":1,"Parameters":{}`)), "$.States.S", "exclude"},
	})
}

func TestLoadReportsEverything(t *testing.T) {
	definition := `{"StartAt":"S","States":{"S":{"Type":"Pass","Foo":1},"T":{"Type":"Fail","Cause":1}}}`
	want := []Problem{
		{"$.States.S", "neither Next nor End"},
		{"$.States.S.Foo", "unknown field"},
		{"$.States.T", "no state leads here"},
		{"$.States.T.Cause", "expected a string"},
	}
	if diff := cmp.Diff(want, problems(t, definition)); diff != "" {
		t.Error(diff)
	}
}

func TestLoadBindings(t *testing.T) {
	definition := one(task(`,"End":true`))
	for _, test := range []struct {
		bind map[string]string
		want string
	}{
		{map[string]string{"F": "copy"}, ""},
		{nil, "$.States.S.Parameters.FunctionName: placeholder ${F} has no value"},
		{map[string]string{"F": "copy", "G": "x"}, "$: the value of ${G} is not used"},
	} {
		m, err := Load([]byte(definition), test.bind)
		if err == nil {
			if diff := cmp.Diff([]string{"copy"}, m.Functions()); diff != "" {
				t.Error(diff)
			}
		}
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%v: got %v, want %s", test.bind, err, test.want)
		}
	}
}

func TestLoadFlowCheck(t *testing.T) {
	begin := `"S":` + task(`,"ResultPath":"$.begin","Next":"T"`)
	tests := []struct {
		name, states, path string
	}{
		{"an input", begin + `,"T":{"Type":"Pass","InputPath":"$.run","End":true}`, ""},
		{"a result", begin + `,"T":{"Type":"Pass","Parameters":{"x.$":"$.begin.Payload"},"End":true}`, ""},
		{"nobody's", begin + `,"T":{"Type":"Pass","Parameters":{"x":{"y.$":"$.began.Payload"}},"End":true}`, "$.States.T.Parameters.x['y.$']"},
		{"in an intrinsic", begin + `,"T":{"Type":"Pass","Parameters":{"x.$":"States.Format('{}',$.nope)"},"End":true}`, "$.States.T.Parameters['x.$']"},
		{"a choice", begin + `,"T":{"Type":"Choice","Choices":[{"Not":{"Variable":"$.nope","IsNull":true},"Next":"S"}]}`, "$.States.T.Choices[0].Not.Variable"},
		{"items", begin + `,"T":` + strings.Replace(inlineMap(""), "$.list", "$.nope", 1), "$.States.T.ItemsPath"},
		{"a key", begin + `,"T":` + strings.Replace(distributedMap(""), "$.list", "$.nope", 1), "$.States.T.ItemReader.Parameters['Key.$']"},
		{"a prefix", begin + `,"T":` + distributedMap(writer), "$.States.T.ResultWriter.Parameters['Prefix.$']"},
		{"an error path", begin + `,"T":{"Type":"Fail","ErrorPath":"$.error.Error"}`, "$.States.T.ErrorPath"},
		{"a caught error", `"S":` + task(`,"ResultPath":null,"End":true,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.error","Next":"T"}]`) +
			`,"T":{"Type":"Fail","ErrorPath":"$.error.Error"}`, ""},
		{"after a replacement", `"S":` + task(`,"Next":"T"`) + `,"T":{"Type":"Pass","InputPath":"$.run","End":true}`, "$.States.T.InputPath"},
		{"read before it is written", `"S":{"Type":"Pass","InputPath":"$.late","Next":"T"},"T":{"Type":"Pass","Result":1,"ResultPath":"$.late","End":true}`, "$.States.S.InputPath"},
		{"written in a loop", `"S":{"Type":"Choice","Choices":[{"Variable":"$.late","IsPresent":true,"Next":"E"}],"Default":"T"},"T":{"Type":"Pass","Result":1,"ResultPath":"$.late","Next":"S"},"E":{"Type":"Succeed"}`, ""},
		{"what a selector hands down", `"S":` + strings.Replace(inlineMap(`,"ItemSelector":{"run.$":"$.run"}`), `"Payload.$":"$"`, `"Payload.$":"$.run"`, 1), ""},
		{"what it doesn't", `"S":` + strings.Replace(inlineMap(`,"ItemSelector":{"run.$":"$.run"}`), `"Payload.$":"$"`, `"Payload.$":"$.list"`, 1), "$.States.S.ItemProcessor.States.Child.Parameters['Payload.$']"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			definition := `{"StartAt":"S","States":{` + test.states + `}}`
			found := problems(t, definition, WithInputs("run", "list"))
			switch {
			case test.path == "" && len(found) > 0:
				t.Errorf("unexpected: %v", found)
			case test.path != "" && (len(found) != 1 || found[0].Path != test.path):
				t.Errorf("got %v, want one at %s", found, test.path)
			}
			if found := problems(t, definition); len(found) > 0 {
				t.Errorf("without WithInputs: %v", found)
			}
		})
	}
}

func TestMachineTellsWhatItMentions(t *testing.T) {
	definition := one(task(`,"End":true,"Retry":[{"ErrorEquals":["Lifeboat.Transient","Lambda.Unknown"]}]`))
	m := mustLoad(t, definition, WithName("backup"))
	if diff := cmp.Diff([]string{"Lambda.Unknown", "Lifeboat.Transient"}, m.ErrorNames()); diff != "" {
		t.Error(diff)
	}
	if m.Name() != "backup" || len(m.Digest()) != 64 || m.Digest() == mustLoad(t, definition+" ").Digest() {
		t.Errorf("name %s, digest %s", m.Name(), m.Digest())
	}
}

func FuzzLoad(f *testing.F) {
	for _, state := range []string{
		task(`,"End":true,"TimeoutSeconds":3,"Retry":[{"ErrorEquals":["States.ALL"],"MaxDelaySeconds":9,"JitterStrategy":"FULL"}]`),
		inlineMap(`,"ItemSelector":{"i.$":"$$.Map.Item.Index"}`), distributedMap(`,"ToleratedFailureCount":1,"Label":"x"`),
		`{"Type":"Choice","Choices":[{"Or":[{"Not":{"Variable":"$.a","NumericEqualsPath":"$.b"}}],"Next":"S"}]}`,
		`{"Type":"Fail","ErrorPath":"States.Format('{} \\' {}',$.a['x y'][0],'b')"}`,
		pass(`,"Result":[null,1e400],"InputPath":null,"End":true`), `{"Type":"Wait","Seconds":1,"Next":"S"}`,
	} {
		f.Add([]byte(one(state)))
	}
	f.Fuzz(func(t *testing.T, definition []byte) {
		m, err := Load(definition, map[string]string{"F": "F"}, WithInputs("a", "list"))
		if (m == nil) != (err != nil) {
			t.Errorf("machine %v, error %v", m, err)
		}
	})
}
