package step_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/machine"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

const (
	largeFile = 40 << 20 // bytes of an object that takes several calls
	eachCall  = 15 << 20 // of which one can read so many
	callTime  = 6 * time.Second
)

// stalling is an application whose large objects give so many bytes, and then nothing until the reader's time is over.
type stalling struct{ *fake }

func (s stalling) Open(ctx context.Context, o app.Object) (app.Content, error) {
	content, err := s.fake.Open(ctx, o)
	if err != nil || o.Size < largeFile {
		return content, err
	}
	return &stallingContent{content.(*fakeContent), ctx, eachCall}, nil
}

type stallingContent struct {
	*fakeContent
	ctx  context.Context
	left int
}

func (c *stallingContent) Read(p []byte) (int, error) {
	if c.left == 0 {
		<-c.ctx.Done()
		return 0, c.ctx.Err()
	}
	n, err := c.fakeContent.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Skip implements app.Skipper.
func (c *stallingContent) Skip(_ context.Context, n int64) error {
	_, err := c.Seek(n, 0)
	return err
}

// limited runs the steps as functions do: a copy has a deadline, and is tried again where it was not told in time.
type limited struct {
	*world
	mutex   sync.Mutex
	answers map[int][]bool // by batch: done
	after   func(call int, r events.Request) error
}

func newLimited(t *testing.T) *limited {
	large := strings.Repeat("0123456789abcde", largeFile/15+1)
	w := newWorld(t, map[string]string{"large": large, "small": "a small one"})
	return &limited{world: w, answers: map[int][]bool{}}
}

func (l *limited) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	if function != "copy" {
		return l.world.invoke(ctx, function, payload)
	}
	var request events.Request
	if err := events.Decode(payload, &request); err != nil {
		return nil, err
	}
	working, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	raw, err := l.steps.Handle(working, function, payload)
	if err != nil {
		if failure.KindOf(err) == failure.Canceled && ctx.Err() == nil {
			err = failure.New(failure.Transient, "%w", err)
		}
		return nil, step.Boundary{Err: err}
	}
	var answer events.Copied
	if err := events.Decode(raw, &answer); err != nil {
		return nil, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.answers[answer.Batch] = append(l.answers[answer.Batch], answer.Done)
	if l.after != nil {
		err = l.after(len(l.answers[answer.Batch]), request)
	}
	return raw, err
}

// stall makes the application slow.
func (l *limited) stall() {
	l.app = stalling{l.source}
	l.steps = l.newSteps()
}

func (l *limited) run(id backup.ID) (machine.Outcome, catalog.Record) {
	l.t.Helper()
	l.stall()
	engine := &machine.Engine{Invoke: l.invoke, Read: l.read, Rand: func() float64 { return 0 }}
	outcome, err := engine.Execute(l.t.Context(), l.machine(), machine.Execution{Name: string(id), Input: l.input(id)})
	if err != nil {
		l.t.Fatal(err)
	}
	record, err := catalog.New(l.vault).Record(l.t.Context(), "photos", id)
	if err != nil {
		l.t.Fatal(err)
	}
	return outcome, record
}

// longest returns how many calls the batch with the most took.
func (l *limited) longest() int {
	most := 0
	for _, calls := range l.answers {
		most = max(most, len(calls))
	}
	return most
}

// TestCopyGoesOn: a backup whose large object takes several calls is the same, byte for byte, as one that takes it at once;
// what Step Functions notes among its work files goes with them.
func TestCopyGoesOn(t *testing.T) {
	t.Parallel()
	undisturbed := newLimited(t)
	if _, record, err := undisturbed.world.run(firstRun, ""); err != nil || record.Status != backup.Completed {
		t.Fatalf("%+v, %v", record, err)
	}
	l := newLimited(t)
	l.after = func(_ int, r events.Request) error {
		key := vault.Work(r.Run.Source, r.Run.ID, r.Snapshot.Attempt+"/results/5f1c/manifest.json")
		_, err := l.vault.Put(t.Context(), key, []byte("{}"), vault.Always())
		return err
	}
	outcome, record := l.run(firstRun)
	if outcome.Status != machine.Succeeded || record.Status != backup.Completed {
		t.Fatalf("%+v, %+v", outcome, record)
	}
	if n := l.longest(); n < 3 {
		t.Errorf("%v", l.answers)
	}
	if diff := cmp.Diff(undisturbed.sums(), l.sums()); diff != "" {
		t.Error(diff)
	}
	l.nothingLeft()
}

// sums returns size and CRC-32 of every object of the vault.
func (l *limited) sums() map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for info, err := range l.vault.List(l.t.Context(), "") {
		if err != nil {
			l.t.Fatal(err)
		}
		body, _, err := l.vault.Open(l.t.Context(), info.Key, 0, -1)
		if err != nil {
			l.t.Fatal(err)
		}
		crc := crc32.NewIEEE()
		if _, err := io.Copy(crc, body); err != nil {
			l.t.Fatal(err)
		}
		body.Close()
		all[string(info.Key)] = fmt.Sprintf("%d bytes, %08x", info.Size, crc.Sum32())
	}
	return all
}

// TestGoingFails: a run that fails between two calls leaves no upload behind.
func TestGoingFails(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	l.after = func(call int, _ events.Request) error {
		if call == 2 {
			return step.Boundary{Err: failure.New(failure.Denied, "somebody changed the rights")}
		}
		return nil
	}
	outcome, record := l.run(firstRun)
	if outcome.Error != "Lifeboat.Denied" || record.Status != backup.Failed {
		t.Errorf("%+v, %+v", outcome, record)
	}
	l.nothingLeft()
}

// TestGoingLost: what a run that was abandoned between two calls wrote is freed when the next one begins.
func TestGoingLost(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	l.stall()
	ctx, stop := context.WithCancel(t.Context())
	l.after = func(call int, _ events.Request) error {
		if call == 2 {
			stop()
		}
		return nil
	}
	engine := &machine.Engine{Invoke: l.invoke, Read: l.read}
	_, _ = engine.Execute(ctx, l.machine(), machine.Execution{Name: string(firstRun), Input: l.input(firstRun)})
	uploads := func() (n int) {
		for _, err := range l.vault.Uploads(t.Context(), vault.Packs("photos")) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if uploads() != 1 {
		t.Fatalf("%d uploads, answers %v", uploads(), l.answers)
	}
	l.clock = l.clock.Add(catalog.LeaseTime + time.Minute)
	run := events.Run{ID: secondRun, Source: "photos", StartedBy: catalog.Starter{By: "test"}}
	message, _ := json.Marshal(events.Request{Step: "begin", Run: run})
	if _, err := l.world.invoke(t.Context(), "export", message); err != nil {
		t.Fatal(err)
	}
	if n := uploads(); n > 0 {
		t.Errorf("%d uploads", n)
	}
}
