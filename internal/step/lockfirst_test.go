package step_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lifeboat/internal/catalog"
	"lifeboat/internal/machine"
	"lifeboat/internal/secret/awskms"
)

// TestLocksAreAnnounced: before the first lock there is a list of locks, so that whoever cleans up behind a run that was
// killed while it locked asks the store.
func TestLocksAreAnnounced(t *testing.T) {
	w := newLocking(t)
	announced := false
	w.refuse = func(_ string, locked int) bool {
		if locked == 0 {
			known, err := catalog.New(w.vault).Locks(t.Context(), "photos")
			if err != nil {
				t.Error(err)
			}
			announced = known.Kept()
		}
		return false
	}
	if record := w.backUp(0); !record.Status.Good() || !announced {
		t.Errorf("%s, announced %v", record.Status, announced)
	}
}

// TestMACKeyGone: a key that is gone says nothing of earlier backups. The run fails, and packs nothing anew.
func TestMACKeyGone(t *testing.T) {
	w := newWorld(t, map[string]string{"a.jpg": "alpha", "b.jpg": "beta"})
	w.steps.MAC = &hmacs{key: "ours"}
	if _, first, err := w.run("20261121T120000Z-aaaaaa", ""); err != nil || !first.Status.Good() {
		t.Fatal(first, err)
	}
	kms := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"NotFoundException"}`))
	}))
	defer kms.Close()
	w.steps.MAC = awskms.New(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &kms.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}, "ours")
	w.clock = w.clock.Add(time.Hour)
	outcome, second, err := w.run("20261121T130000Z-bbbbbb", "")
	if err != nil || outcome.Status != machine.Failed || outcome.Error != "Lifeboat.Denied" || second.PackedObjects != 0 {
		t.Errorf("%+v, %s, %d packed, %v", outcome, second.Status, second.PackedObjects, err)
	}
	if second.Failure == nil || !strings.Contains(second.Failure.Message, "NotFoundException") {
		t.Errorf("%+v", second.Failure)
	}
}
