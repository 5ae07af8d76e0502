package step_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/pack"
	"lifeboat/internal/s3model"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// What a run may cost the state machine, and a batch its function. Step Functions' own limits are 256 KiB a state and
// 25,000 events a history; Lambda's are 15 minutes.
const (
	mostState  = 32 << 10 // bytes of any input, output, payload or answer
	mostEvents = 2_000    // of the parent's history, every call repeated once
	allEvents  = 25_000   // the same, every call repeated as often as Retry allows: Step Functions' limit
	mostBatch  = 5 * time.Minute
)

// The rates that a batch is held against are worse than what docs/aws-costs.md assumes ("What the numbers assume"): half
// of the 75 MB/s that pass through a function and of the 150 MB/s a copying request, twice the 40 and 20 ms a request,
// and 8 of 64 at the same time.
const (
	slowPass  = 75_000_000 / 2  // bytes a second
	slowCopy  = 150_000_000 / 2 // bytes a second
	slowPut   = 2 * 40 * time.Millisecond
	slowGet   = 2 * 20 * time.Millisecond
	slowReads = 8 // objects that are read, or copied, at the same time
	slowStart = 2 * time.Second
)

// madeUp is an application of very many objects, none of which is ever read. Its snapshot pauses now and then.
type madeUp struct {
	t       testing.TB
	objects int
	size    func(n int) int64
	pause   int // after so many objects
}

// Snapshot implements app.Source.
func (m *madeUp) Snapshot(context.Context, backup.Scope, app.Sink) (app.Facts, error) {
	return app.Facts{}, failure.New(failure.Internal, "its snapshot is taken in pieces")
}

// SnapshotFrom implements app.Pausing.
func (m *madeUp) SnapshotFrom(ctx context.Context, _ backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	n := 0
	if from == nil {
		if err := sink.Document(ctx, app.Document{Path: "export.json"}, strings.NewReader(`{"made":"up"}`)); err != nil {
			return app.Facts{}, err
		}
	} else if err := json.Unmarshal(from, &n); err != nil {
		return app.Facts{}, err
	}
	for n < m.objects {
		if err := sink.Object(m.object(n)); err != nil {
			return app.Facts{}, err
		}
		if n++; n%m.pause == 0 {
			if err := sink.Pause(func() ([]byte, error) { return json.Marshal(n) }); err != nil {
				return app.Facts{}, err
			}
		}
	}
	return app.Facts{Application: "made up", Counts: map[string]int64{"files": int64(m.objects)}}, nil
}

func (m *madeUp) object(n int) app.Object {
	return app.Object{
		Key: fmt.Sprintf("photos/%03d/IMG_%08d.jpg", n%1000, n), Path: fmt.Sprintf("files/photos/%03d/IMG_%08d.jpg", n%1000, n),
		Size: m.size(n), Modified: noon.Add(-time.Duration(n) * time.Second), Identity: fmt.Sprintf("\"%032x\":%d:%d", n, n, n), Settled: true,
	}
}

// Open implements app.Source.
func (m *madeUp) Open(_ context.Context, o app.Object) (app.Content, error) {
	m.t.Errorf("%s was opened", o.Key)
	return nil, failure.New(failure.Internal, "nothing of it is there")
}

// Located implements app.Stored: the vault's store has them.
func (m *madeUp) Located(o app.Object) (app.Location, bool) {
	return app.Location{Endpoint: "http://store.test", Bucket: "data", Key: o.Key, ETag: `"any"`}, true
}

// weighed is a run whose messages are weighed. What comes after the plan is answered by a stand-in.
type weighed struct {
	*modelled
	snapshots int // calls
	again     int // calls of a batch that are not its last
	assembles int // calls

	mutex  sync.Mutex
	copies map[int]int // calls by batch
	cut    map[int]events.Batch
	most   map[string]int
	joined int
}

// weigh notes the size of something, by what it is.
func (w *weighed) weigh(what string, size int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.most[what] = max(w.most[what], size)
}

func (w *weighed) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	var request events.Request
	if err := events.Decode(payload, &request); err != nil {
		return nil, err
	}
	answer, err := w.answer(ctx, function, request, payload)
	w.weigh("payload to "+request.Step, len(payload))
	w.weigh("answer of "+request.Step, len(answer))
	// the state of a child holds its input, which crosses to the function, and the answer beside it
	w.weigh("state of "+request.Step, len(payload)+len(answer))
	return answer, err
}

// answer is what a step answers. Ids of uploads are longer than any that S3 has shown.
func (w *weighed) answer(ctx context.Context, function string, r events.Request, payload json.RawMessage) (json.RawMessage, error) {
	switch r.Step {
	case "begin", "plan-packs":
		return w.world.invoke(ctx, function, payload)
	case "snapshot":
		w.snapshots++
		return w.world.invoke(hurried{ctx}, function, payload)
	case "copy":
		return json.Marshal(map[string]any{"batch": r.Batch.Batch, "done": w.copied(*r.Batch) > w.again})
	case "assemble":
		w.joined++
		return json.Marshal(events.Assembly{Done: w.joined == w.assembles, Volume: 9_999, Upload: strings.Repeat("u", 512), Next: 10_000})
	case "seal":
		return json.Marshal(events.Sealed{Status: backup.Completed})
	}
	return json.RawMessage("{}"), nil
}

// copied notes a call of a batch and returns how many that were.
func (w *weighed) copied(batch events.Batch) int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.cut[batch.Batch] = batch
	w.copies[batch.Batch]++
	return w.copies[batch.Batch]
}

// widest is an input as large as begin lets it be: with as many control characters, which take six bytes, as it takes.
func widest() json.RawMessage {
	run := events.Run{
		ID: firstRun, Source: "photos", Name: strings.Repeat("<", 200), Rehash: true,
		Scope:     backup.Scope{Folder: strings.Repeat("\x01", 200), Since: noon.Add(-1e6 * time.Hour), Until: noon, NoMetrics: true},
		StartedBy: catalog.Starter{By: "schedule", Who: strings.Repeat("\x01", 392)},
	}
	text, err := json.Marshal(run)
	if err != nil {
		panic(err)
	}
	rest := 16<<10 - len(text) - len(`,"description":""`)
	run.Description = strings.Repeat("\x01", rest/6) + strings.Repeat("d", rest%6)
	data, err := json.Marshal(events.Input{Run: run})
	if err != nil {
		panic(err)
	}
	return data
}

// TestStateSizes backs up a million made-up objects by the real definition, with the real begin, snapshot and plan-packs:
// whatever crosses between states stays small, the parent's history short, and every batch within what its function has.
func TestStateSizes(t *testing.T) {
	if raced {
		t.Skip("only sizes, which are the same without the race detector")
	}
	few := &madeUp{objects: 195_000, pause: 20_000, size: func(int) int64 { return 100 }} // 39 batches by count, and the documents'
	many := &madeUp{objects: 1_000_000, pause: 50_000, size: func(n int) int64 {
		switch {
		case n%50_000 == 7:
			return 6 << 30
		case n%1000 == 0:
			return 200 << 20
		}
		return int64(n) * 2_654_435_761 % (8 << 20) // 4 TB in all: more than batches of the usual size would hold
	}}
	if brief() {
		few.objects, few.pause, few.size = 156, 20, func(int) int64 { return 8 << 20 } // 39 batches by size
		many.objects, many.pause = 100_000, 5_000
	}
	for name, c := range map[string]struct {
		app     *madeUp
		batches int // 0: more than the inline Map takes
	}{"a million objects": {many, 0}, "as many batches as the inline Map takes": {few, 40}} {
		t.Run(name, func(t *testing.T) {
			c.app.t = t
			w := &weighed{modelled: newModelled(t, s3model.Options{}), again: 1, assembles: 40, copies: map[int]int{}, cut: map[int]events.Batch{}, most: map[string]int{}}
			w.app, w.policy = c.app, step.Policy{Floor: 32 << 20}
			w.steps = w.newSteps()
			journal := w.execute()
			if n := len(w.copies); n != c.batches && c.batches > 0 || c.batches == 0 && n <= 40 {
				t.Fatalf("%d batches", n)
			}
			w.states(journal)
			w.history(journal)
			w.batches()
		})
	}
}

// execute runs the backup and returns its journal.
func (w *weighed) execute() []machine.Event {
	w.t.Helper()
	journal := filepath.Join(w.t.(*testing.T).TempDir(), "run.jsonl")
	engine := &machine.Engine{Read: w.read, Rand: func() float64 { return 0 }, Invoke: w.invoke}
	outcome, err := engine.Execute(w.t.Context(), w.machine(), machine.Execution{Name: string(firstRun), Input: widest(), Journal: journal})
	if err != nil || outcome.Status != machine.Succeeded {
		w.t.Fatalf("%+v, %v", outcome, err)
	}
	if w.snapshots < 8 || w.joined != w.assembles {
		w.t.Errorf("%d calls of snapshot, %d of assemble", w.snapshots, w.joined)
	}
	past, err := machine.History(journal)
	if err != nil {
		w.t.Fatal(err)
	}
	return past
}

// states holds every input and output of the parent's states, and whatever crosses to a function and back.
func (w *weighed) states(past []machine.Event) {
	w.t.Helper()
	for _, e := range past {
		w.weigh(e.Type+" "+e.Details.Name, max(len(e.Details.Input), len(e.Details.Output)))
	}
	largest, size := "", 0
	for what, n := range w.most {
		if n > mostState {
			w.t.Errorf("%s has %d bytes, more than %d", what, n, mostState)
		}
		if n > size {
			largest, size = what, n
		}
	}
	w.t.Logf("the largest of %d sorts is the %s: %d bytes", len(w.most), largest, size)
}

// history counts the events of the parent by AWS's rules: what machine.History tells, and for an inline Map also the
// states of its children, of which it does not tell. A state that is a Task has five events, any other two; each attempt
// that fails has three more. It is an upper bound: it lets a child pass all its states for each of its calls.
func (w *weighed) history(past []machine.Event) {
	w.t.Helper()
	n, tasks, inline := len(past), 0, ""
	for i, e := range past {
		switch e.Type {
		case "TaskStateEntered":
			tasks++
		case "MapStateStarted":
			inline = past[i-1].Details.Name
		}
	}
	if inline != "" {
		states, within := inner(w.t, inline)
		for _, calls := range w.copies {
			n += calls * (5*within + 2*(states-within))
			tasks += calls * within
		}
	}
	once, worst := n+3*tasks, n+3*mostRetries(w.t)*tasks
	if once >= mostEvents || worst >= allEvents {
		w.t.Errorf("the parent's history has %d events, %d where every call is repeated once, %d at worst", n, once, worst)
	}
	w.t.Logf("%d batches, %d calls of snapshot, %d of assemble: %d events, %d where every call is repeated once, %d at worst",
		len(w.copies), w.snapshots, w.joined, n, once, worst)
}

// inner counts the states inside of a Map, and those of them that are Tasks.
func inner(t testing.TB, name string) (states, tasks int) {
	t.Helper()
	var definition struct {
		States map[string]struct {
			ItemProcessor struct {
				States map[string]struct{ Type string }
			}
		}
	}
	if err := json.Unmarshal(workflow.Backup, &definition); err != nil {
		t.Fatal(err)
	}
	for _, s := range definition.States[name].ItemProcessor.States {
		if states++; s.Type == "Task" {
			tasks++
		}
	}
	if tasks == 0 {
		t.Fatalf("%s has no tasks", name)
	}
	return states, tasks
}

// load is what a batch asks of its function.
type load struct {
	objects, reads, spliced int
	passed, copied          int64 // bytes
	largest                 int64
}

func (l *load) add(item pack.Item) {
	l.objects++
	var size int64
	switch {
	case item.Document != nil:
		size = item.Document.Entry.StoredSize()
	case item.Object != nil:
		size = item.Object.Size
	}
	l.largest = max(l.largest, size)
	if item.Splice {
		l.spliced++
		l.copied += size
		return
	}
	l.reads++
	l.passed += size
}

// takes returns how long a batch takes at the slow rates.
func (l *load) takes() time.Duration {
	passing := float64(l.passed+int64(l.spliced)*vault.MinPart) / slowPass // a splice's header rides on a part that passes
	copying := float64(l.copied) / (slowCopy * slowReads)
	requests := time.Duration(l.reads)*slowGet/slowReads + time.Duration(2*l.spliced+int(l.passed>>23)+3)*slowPut/slowReads
	return slowStart + requests + time.Duration((passing+copying)*float64(time.Second))
}

// batches reads the plan and holds each of its batches against a function's time. Only one object that is larger than any
// batch may take longer: the step copy goes on with it in another call.
func (w *weighed) batches() {
	w.t.Helper()
	items := w.plan("plan.jsonl")
	var slowest time.Duration
	var largest load
	for n, batch := range w.cuts() {
		line, err := json.Marshal(batch)
		if err != nil || len(line) > mostState || batch.Batch != n {
			w.t.Fatalf("batch %d: %s, %v", n, line, err)
		}
		l := w.load(items, batch)
		if l.objects == 1 && l.largest > pack.LargeBatch {
			continue
		}
		if took := l.takes(); took > mostBatch {
			w.t.Errorf("batch %d takes %s at the slow rates: %+v", n, took, l)
		} else if took > slowest {
			slowest, largest = took, l
		}
	}
	if rest, err := io.ReadAll(items); err != nil || len(rest) > 0 {
		w.t.Errorf("%d bytes of the plan are in no batch, %v", len(rest), err)
	}
	w.t.Logf("the slowest batch takes %s at the slow rates: %+v", slowest, largest)
}

func (w *weighed) load(items *bufio.Reader, batch events.Batch) load {
	w.t.Helper()
	var l load
	decoder := json.NewDecoder(io.LimitReader(items, batch.Length))
	for {
		var item pack.Item
		err := decoder.Decode(&item)
		if err == io.EOF {
			return l
		}
		if err != nil {
			w.t.Fatal(err)
		}
		l.add(item)
	}
}

// cuts returns the batches as they crossed to the function, which must be the whole of the plan.
func (w *weighed) cuts() []events.Batch {
	w.t.Helper()
	var all []events.Batch
	var offset int64
	for n := range len(w.cut) {
		batch := w.cut[n]
		if batch.Batch != n || batch.Offset != offset {
			w.t.Fatalf("batch %d is %+v, the one before it ends at %d", n, batch, offset)
		}
		offset += batch.Length
		all = append(all, batch)
	}
	return all
}

// plan opens a work file of the run.
func (w *weighed) plan(file string) *bufio.Reader {
	w.t.Helper()
	for info, err := range w.vault.List(w.t.Context(), vault.Work("photos", firstRun, "")) {
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.HasSuffix(string(info.Key), "/"+file) {
			body, _, err := w.vault.Open(w.t.Context(), info.Key, 0, -1)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = body.Close() })
			return bufio.NewReaderSize(body, 1<<20)
		}
	}
	w.t.Fatalf("there is no %s", file)
	return nil
}

// mostRetries is how often a state of the definition is tried again at most, over all that it is tried again for.
func mostRetries(t testing.TB) int {
	t.Helper()
	var definition any
	if err := json.Unmarshal(workflow.Backup, &definition); err != nil {
		t.Fatal(err)
	}
	most := 0
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, v := range value {
				walk(v)
			}
		case map[string]any:
			sum := 0
			retriers, _ := value["Retry"].([]any)
			for _, r := range retriers {
				attempts, _ := r.(map[string]any)["MaxAttempts"].(float64)
				sum += int(attempts)
			}
			most = max(most, sum)
			for _, v := range value {
				walk(v)
			}
		}
	}
	walk(definition)
	if most == 0 {
		t.Fatal("nothing is tried again")
	}
	return most
}
