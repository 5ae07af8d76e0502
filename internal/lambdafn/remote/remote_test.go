package remote_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"lifeboat/events"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/lambdafn/runtimeapi"
)

const arn = "arn:aws:states:eu-central-1:111122223333:stateMachine:"

func machines(t *testing.T, handler http.Handler) *remote.Machines {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := sfn.New(sfn.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	return &remote.Machines{Client: client, Backup: arn + "b", Restore: arn + "r"}
}

func TestStartBackup(t *testing.T) {
	services := &runtimeapi.Services{}
	m := machines(t, services)
	run := events.Run{ID: "20261121T020000Z-abcdef", Source: "photos", StartedBy: catalog.Starter{By: "api", Who: "anna"}}
	for n, want := range []bool{false, true} {
		if got, before, err := m.StartBackup(t.Context(), run, remote.Key{}); err != nil || before != want || got.ID != run.ID {
			t.Errorf("%d: %v, %v, %v", n, got.ID, before, err)
		}
	}
	key := remote.Key{Who: "anna", Text: "k"}
	later := run
	later.ID = "20261121T030000Z-bcdefg"
	for _, id := range []string{"20261121T020000Z-abcdef", "20261121T020000Z-abcdef"} {
		got, _, err := m.StartBackup(t.Context(), run, key)
		if err != nil || string(got.ID) != id {
			t.Errorf("%v, %v", got.ID, err)
		}
		if got, before, err := m.StartBackup(t.Context(), later, key); err != nil || !before || string(got.ID) != id {
			t.Errorf("an hour later: %v, %v, %v", got.ID, before, err)
		}
	}
	other := run
	other.Name = "another"
	if _, _, err := m.StartBackup(t.Context(), other, key); failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" {
		t.Errorf("another request: %v", err)
	}
	if n := len(services.Executions()); n != 2 {
		t.Errorf("%d executions", n)
	}
}

// TestStartRestore: "latest" of a repeated request is what it was; any other word must have meant the same backup.
func TestStartRestore(t *testing.T) {
	services := &runtimeapi.Services{}
	m := machines(t, services)
	now := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	r := events.Restore{ID: "r0123456789abcdef0123", From: events.From{Backup: "photos:20261121T020000Z-abcdef"}, To: events.To{Target: "new"}}
	_, name, before, err := m.StartRestore(t.Context(), r, "latest", remote.Key{}, now)
	if err != nil || before || name != fmt.Sprintf("r0123456789abcdef0123-%d", now.UnixMilli()) {
		t.Errorf("%s, %v, %v", name, before, err)
	}
	if _, again, _, err := m.StartRestore(t.Context(), r, "latest", remote.Key{}, now.Add(time.Second)); err != nil || again == name {
		t.Errorf("without a key: %s, %v", again, err)
	}
	key := remote.Key{Who: "anna", Text: "k"}
	if _, _, before, err := m.StartRestore(t.Context(), r, "latest", key, now); before || err != nil {
		t.Errorf("%v, %v", before, err)
	}
	newer := r
	newer.ID, newer.From.Backup = "r9123456789abcdef0123", "photos:20261121T030000Z-bcdefg"
	newer.Passed = []catalog.Over{{Backup: "20261121T040000Z-cdefgh", Why: "failed"}}
	elsewhere := newer
	elsewhere.To.Target = "old"
	for _, c := range []struct {
		restore events.Restore
		wanted  string
		good    bool
	}{
		{r, "latest", true},
		{newer, "latest", true},
		{newer, "photos:latest", true},
		{newer, "links:latest", false},
		{newer, "20261121T03", false},
		{r, "20261121T02", true},
		{r, "photos:20261121T020000Z-abcdef", true},
		{elsewhere, "latest", false},
	} {
		got, _, before, err := m.StartRestore(t.Context(), c.restore, c.wanted, key, now)
		if c.good && (err != nil || !before || got.ID != r.ID) || !c.good && failure.KindOf(err) != failure.Conflict {
			t.Errorf("%s, %s: %s, %v, %v", c.restore.ID, c.wanted, got.ID, before, err)
		}
	}
}

func TestOutcome(t *testing.T) {
	services := &runtimeapi.Services{}
	m := machines(t, services)
	run := events.Run{ID: "20261121T020000Z-abcdef"}
	ask := func() remote.Outcome {
		t.Helper()
		o, err := m.Backed(t.Context(), string(run.ID))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if _, err := m.Backed(t.Context(), string(run.ID)); failure.KindOf(err) != failure.NotFound {
		t.Errorf("none: %v", err)
	}
	if _, _, err := m.StartBackup(t.Context(), run, remote.Key{}); err != nil {
		t.Fatal(err)
	}
	if o := ask(); !o.Running || o.Succeeded {
		t.Errorf("%+v", o)
	}
	services.End(string(run.ID), runtimeapi.Ended{Status: "SUCCEEDED", Output: `{"state":{}}`})
	if o := ask(); o.Running || !o.Succeeded || string(o.Output) != `{"state":{}}` {
		t.Errorf("%+v", o)
	}
	for _, c := range []struct {
		ended runtimeapi.Ended
		want  events.Error
	}{
		{runtimeapi.Ended{Status: "FAILED", Error: "Lifeboat.Corrupt", Cause: "c"}, events.Error{Error: "Lifeboat.Corrupt", Cause: "c"}},
		{runtimeapi.Ended{Status: "FAILED"}, events.Error{Error: "Lifeboat.Internal", Cause: "the execution ended without saying why"}},
		{runtimeapi.Ended{Status: "TIMED_OUT"}, events.Error{Error: "States.Timeout", Cause: "the execution took longer than it may"}},
		{runtimeapi.Ended{Status: "ABORTED"}, events.Error{Error: "Lifeboat.Canceled", Cause: "somebody stopped the execution"}},
	} {
		services.End(string(run.ID), c.ended)
		if o := ask(); o.Running || o.Succeeded || o.Error == nil || *o.Error != c.want {
			t.Errorf("%+v: %+v", c.ended, o.Error)
		}
	}
}

func TestFaults(t *testing.T) {
	for code, want := range map[string]failure.Kind{
		"StateMachineDoesNotExist": failure.NotFound, "AccessDeniedException": failure.Denied, "ExecutionLimitExceeded": failure.Exhausted,
		"ThrottlingException": failure.Transient, "InvalidName": failure.Internal,
	} {
		m := machines(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "the service's words"})
		}))
		if _, _, err := m.StartBackup(t.Context(), events.Run{ID: "x"}, remote.Key{}); failure.KindOf(err) != want || !strings.Contains(fmt.Sprint(err), "start the state machine of backups") {
			t.Errorf("%s: %v", code, err)
		}
	}
	down := machines(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	if _, err := down.Restored(t.Context(), "x"); failure.KindOf(err) != failure.Transient || !strings.Contains(fmt.Sprint(err), "ask the state machine of restores") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := down.Restored(ctx, "x"); failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v", err)
	}
}
