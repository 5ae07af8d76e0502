package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/machine"
	"lifeboat/internal/vault"
)

// killed kills functions while they write: the first pack, the archive, the target.
func killed(l *live) {
	kill := func(id, path string) *atomic.Int64 {
		f, again, n := l.Function(id), first(1), &atomic.Int64{}
		f.Front = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Method == http.MethodHead || !strings.Contains(r.URL.Path, path) || !again() {
				return false
			}
			n.Add(1)
			f.Kill()
			return true
		}
		return n
	}
	kills := []*atomic.Int64{kill("Copy", "/packs/"), kill("Package", "/archives/"), kill("Restore", "/example-papers-new/"), kill("Notify", "/outbox/")}
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	same(l.t, papers(), below(l.archive(record), "files/"))
	if _, err := l.Start(l.Machine("RestoreMachine").ARN, "console", sample(l.t, "restore-input.json")); err != nil {
		l.t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		l.t.Fatalf("%+v, %v", outcome, err)
	}
	l.restored(papers())
	for n, k := range kills {
		if k.Load() != 1 {
			l.t.Errorf("the function %d was killed %d times", n, k.Load())
		}
	}
	if n := len(l.Services.Mails()); n != 2 {
		l.t.Errorf("%d mails", n)
	}
}

// timedOut lets functions hang until their time is over: once, after which the run goes on; and always, after which it is
// closed as the definition says.
func timedOut(l *live) {
	hang := func(id, path string, again func() bool) {
		f := l.Function(id)
		f.Front = func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, path) || !again() {
				return false
			}
			f.Expire()
			return true
		}
	}
	hang("Export", "/example-papers", first(1))
	hang("Copy", "/packs/", first(2))
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	same(l.t, papers(), below(l.archive(record), "files/"))

	var sealing atomic.Bool
	packager := l.Function("Package")
	packager.Before = func(payload []byte) error {
		sealing.Store(step(payload, "seal"))
		return nil
	}
	hang("Package", "/", sealing.Load)
	if err := l.Put(l.ctx, "example-papers", "new", []byte("new")); err != nil {
		l.t.Fatal(err)
	}
	record, outcome = l.backup("papers", four.Add(24*time.Hour))
	if outcome.Status != machine.Failed || outcome.Error != runtimeapi.TimedOut || record.Status != backup.Failed {
		l.explain()
		l.t.Errorf("%+v, %s %+v", outcome, record.Status, record.Failure)
	}
	l.left(record.ID)
	if mails := l.Services.Mails(); len(mails) != 2 || !bytes.Contains(mails[1], []byte("failed")) {
		l.t.Errorf("%d mails", len(mails))
	}
	if lost := append(l.Queue("UnansweredEvents"), l.Queue("UndeliveredEvents")...); len(lost) != 0 {
		l.t.Errorf("nobody took %q", lost)
	}
}

// left: of a run that failed no bytes are left that a backup does not need.
func (l *live) left(id backup.ID) {
	l.t.Helper()
	all, err := l.Objects(l.ctx, l.Bucket("Vault"), "")
	if err != nil {
		l.t.Fatal(err)
	}
	for key := range all {
		if strings.Contains(key, string(id)) && !strings.HasPrefix(key, "catalog/") && !strings.HasPrefix(key, "outbox/") {
			l.t.Errorf("left: %s", key)
		}
	}
}

// throttled refuses the first two invocations of each function for want of environments, and the first requests to S3.
func throttled(l *live) {
	for id, n := range map[string]int64{"Export": 1, "Copy": 2, "Package": 1, "Notify": 1, "Restore": 1} { // the SDK does wait
		f, busy, slow := l.Function(id), first(2), first(n)
		f.Before = func([]byte) error {
			if busy() {
				return &runtimeapi.Error{Type: runtimeapi.TooManyName, Message: "Rate Exceeded."}
			}
			return nil
		}
		f.Front = func(w http.ResponseWriter, _ *http.Request) bool {
			if !slow() {
				return false
			}
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
			return true
		}
	}
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	same(l.t, papers(), below(l.archive(record), "files/"))
	if _, err := l.Start(l.Machine("RestoreMachine").ARN, "console", sample(l.t, "restore-input.json")); err != nil {
		l.t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		l.t.Fatalf("%+v, %v", outcome, err)
	}
	l.restored(papers())
}

// closed ends runs in ways that no machine catches: the rules close their records and tell people.
func closed(l *live) {
	t := l.t
	export := l.Function("Export")
	export.After = func(payload []byte, answer json.RawMessage) json.RawMessage {
		if step(payload, "plan-packs") {
			return json.RawMessage(`{}`)
		}
		return answer
	}
	record, outcome := l.backup("papers", four)
	if outcome.Error != "States.Runtime" || record.Status != backup.Failed || record.Notified.Status != "sent" {
		l.explain()
		t.Errorf("%+v, %s %+v", outcome, record.Status, record.Notified)
	}
	l.left(record.ID)
	export.After = nil

	// stopped in the console while it copies
	l.Function("Copy").Before = func([]byte) error {
		for _, e := range l.Running() {
			l.Stop(e)
		}
		return errors.New("nobody hears this")
	}
	record, outcome = l.backup("papers", four.Add(time.Hour))
	if outcome.Status != machine.Aborted || record.Status.Good() || record.Status == backup.InProgress || record.Notified.Status != "sent" {
		l.explain()
		t.Errorf("%+v, %s %+v", outcome, record.Status, record.Notified)
	}
	l.left(record.ID)
	l.Function("Copy").Before = nil
	if mails := l.Services.Mails(); len(mails) != 2 || len(l.heard()) != 2 {
		t.Errorf("%d mails, the webhook heard %q", len(mails), l.heard())
	}

	// a restore, too
	record, outcome = l.backup("papers", four.Add(2*time.Hour))
	l.good(record, outcome)
	l.Function("Restore").After = func(payload []byte, answer json.RawMessage) json.RawMessage {
		if step(payload, "check") {
			return json.RawMessage(`{}`)
		}
		return answer
	}
	if _, err := l.Start(l.Machine("RestoreMachine").ARN, "console", sample(t, "restore-input.json")); err != nil {
		t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Error != "States.Runtime" {
		t.Errorf("%+v, %v", outcome, err)
	}
	for r, err := range l.catalog.Restores(l.ctx) {
		if err != nil || r.Status != backup.Failed {
			t.Errorf("the restore is %s: %v", r.Status, err)
		}
	}
	if lost := append(l.Queue("UnansweredEvents"), l.Queue("UndeliveredEvents")...); len(lost) != 0 {
		t.Errorf("nobody took %q", lost)
	}
}

// lost leaves a run that nobody could close, and somebody hears of that; the next one cleans up behind it.
func lost(l *live) {
	t := l.t
	l.Function("Package").Before = func(payload []byte) error {
		if step(payload, "seal") || step(payload, "abort") || bytes.Contains(payload, []byte("aws.states")) {
			return &runtimeapi.Error{Type: "Lifeboat.Internal", Message: "made up"}
		}
		return nil
	}
	record, outcome := l.backup("papers", four)
	if outcome.Status != machine.Failed || record.Status != backup.InProgress {
		l.explain()
		t.Fatalf("%+v, %s", outcome, record.Status)
	}
	for _, message := range l.Queue("UnansweredEvents") { // of the function that closes, and of the one that tells
		if !strings.Contains(message, string(record.ID)) {
			t.Errorf("nobody answered %s", message)
		}
	}
	if n := len(l.Queue("UnansweredEvents")); n != 2 {
		t.Errorf("%d events were not answered", n)
	}
	l.Function("Package").Before = nil
	lease := string(vault.Lease("papers"))
	if _, err := l.S3.DeleteObject(l.ctx, &s3.DeleteObjectInput{Bucket: new(l.Bucket("Vault")), Key: &lease}); err != nil {
		t.Fatal(err) // as if its time were over
	}
	if err := l.Put(l.ctx, "example-papers", "new", []byte("new")); err != nil {
		t.Fatal(err)
	}
	next, outcome := l.backup("papers", four.Add(24*time.Hour))
	l.good(next, outcome)
	was, err := l.catalog.Record(l.ctx, "papers", record.ID)
	if err != nil || was.Status != backup.Failed || was.Failure.Kind != "lost" {
		t.Errorf("%s %+v: %v", was.Status, was.Failure, err)
	}
	l.left(record.ID)
}

// fromURL restores an archive that somebody else serves.
func fromURL(l *live) {
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	all, err := l.Objects(l.ctx, l.Bucket("Vault"), string(record.Archive.Key))
	if err != nil {
		l.t.Fatal(err)
	}
	l.served = all[string(record.Archive.Key)]
	input := bytes.ReplaceAll(sample(l.t, "restore-input-url.json"), []byte("https://example.org"), []byte(l.web))
	if _, err := l.Start(l.Machine("RestoreMachine").ARN, "console", input); err != nil {
		l.t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		l.t.Fatalf("%+v, %v", outcome, err)
	}
	l.restored(papers())
}

// many makes Distributed Maps of the inline ones.
func many(l *live) {
	distribute := func(id, name string) *atomic.Int64 {
		n := &atomic.Int64{}
		l.Function(id).After = func(payload []byte, answer json.RawMessage) json.RawMessage {
			if !step(payload, name) {
				return answer
			}
			n.Add(1)
			return l.rewritten(payload, answer)
		}
		return n
	}
	planned, checked := distribute("Export", "plan-packs"), distribute("Restore", "check")
	record, outcome := l.backup("papers", four)
	l.good(record, outcome)
	same(l.t, papers(), below(l.archive(record), "files/"))
	if _, err := l.Start(l.Machine("RestoreMachine").ARN, "console", sample(l.t, "restore-input.json")); err != nil {
		l.t.Fatal(err)
	}
	if outcome, err := l.Execution(l.ctx, "console"); err != nil || outcome.Status != machine.Succeeded {
		l.explain()
		l.t.Fatalf("%+v, %v", outcome, err)
	}
	l.restored(papers())
	if planned.Load() == 0 || checked.Load() == 0 {
		l.t.Error("nothing was distributed")
	}
	all, err := l.Objects(l.ctx, l.Bucket("Vault"), "")
	if err != nil {
		l.t.Fatal(err)
	}
	for key := range all {
		if strings.Contains(key, "/results/") || strings.HasSuffix(key, "/batches.jsonl") {
			l.t.Errorf("left: %s", key)
		}
	}
}

// rewritten makes of a plan of few batches one of many: they lie in a list, as lines of JSON, where the plan says.
func (l *live) rewritten(payload []byte, answer json.RawMessage) json.RawMessage {
	l.t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(answer, &fields); err != nil {
		l.t.Error(err)
		return answer
	}
	plan := fields
	if inner, ok := fields["plan"].(map[string]any); ok { // of a restore, which names its list only where it writes one
		var asked events.RestoreRequest
		if err := json.Unmarshal(payload, &asked); err != nil {
			l.t.Error(err)
		}
		plan = inner
		plan["list"], plan["results"] = "restores/"+string(asked.Restore.ID)+"/plan/batches.jsonl", "restores/"+string(asked.Restore.ID)+"/results"
	}
	var lines bytes.Buffer
	batches, _ := plan["few"].([]any)
	for _, batch := range batches {
		lines.Write(append(inputOf(l.t, batch), '\n'))
	}
	if err := l.Put(l.ctx, fmt.Sprint(plan["bucket"]), fmt.Sprint(plan["list"]), lines.Bytes()); err != nil {
		l.t.Error(err)
	}
	plan["many"], plan["few"] = true, []any{}
	return inputOf(l.t, fields)
}

// denied takes one right away: the run fails with that, and says so.
func denied(t *testing.T, out string) {
	l := deploy(t, out, func(role, action, resource string) bool {
		return role == "CopyRole" && action == "s3:PutObject" && strings.HasSuffix(resource, "/packs/*")
	})
	record, outcome := l.backup("papers", four)
	if outcome.Error != failure.Denied.ErrorName() || record.Status != backup.Failed || len(l.Services.Mails()) != 1 {
		t.Errorf("%+v, %s", outcome, record.Status)
	}
	refused := l.Refused()
	if len(refused) == 0 || slices.ContainsFunc(refused, func(r string) bool {
		return !strings.HasPrefix(r, "CopyRole: s3:PutObject arn:aws:s3:::nightly-vault") || !strings.Contains(r, "/packs/papers/")
	}) {
		t.Errorf("refused: %q", refused)
	}
}
