package notify_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
	"lifeboat/internal/vault"
)

// fakeStore is an in-process store that can fail one write, before or after it takes effect.
type fakeStore struct {
	handler http.Handler
	mu      sync.Mutex
	writes  int
	failAt  int  // number of the write, from 1
	after   bool // it took effect all the same
}

func (f *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		f.handler.ServeHTTP(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.writes != f.failAt {
		f.handler.ServeHTTP(w, r)
		return
	}
	if f.after {
		f.handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	w.WriteHeader(http.StatusBadRequest) // the SDK doesn't retry
}

func newStore(t *testing.T) (*vault.Vault, *fakeStore) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(t.Context(), "vault"); err != nil {
		t.Fatal(err)
	}
	store := &fakeStore{handler: gofakes3.New(backend).Server()}
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), Region: "us-east-1", UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider("a", "b", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})
	return vault.New(client, "vault", nil), store
}

// recorder is a sender that remembers Message-IDs.
type recorder struct {
	mu   sync.Mutex
	ids  []string
	then func() error
}

func (r *recorder) Send(_ context.Context, m *notify.Mail) (notify.Receipt, error) {
	r.mu.Lock()
	r.ids = append(r.ids, m.ID)
	then := r.then
	r.mu.Unlock()
	if then != nil {
		if err := then(); err != nil {
			return notify.Receipt{}, err
		}
	}
	return notify.Receipt{Status: notify.Sent}, nil
}

var (
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	anna = notify.Recipient{Address: "anna@example.org", Link: okMessage().Link}
	bob  = notify.Recipient{Address: "Bob <bob@example.org>"}
)

func TestDeliverOnce(t *testing.T) {
	v, _ := newStore(t)
	sender := &recorder{}
	for _, holder := range []string{"first", "second"} {
		box := &notify.Outbox{Vault: v, Sender: sender, Holder: holder, Now: func() time.Time { return noon }}
		told, err := box.Deliver(t.Context(), okMessage(), "", anna, bob)
		want := catalog.Notified{Status: "sent", At: noon, To: []string{"anna@example.org", "Bob <bob@example.org>"}, Link: anna.Link.ID}
		if diff := cmp.Diff(want, told); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", holder, err, diff)
		}
	}
	if len(sender.ids) != 2 || sender.ids[0] == sender.ids[1] {
		t.Errorf("sent %q", sender.ids)
	}
}

func TestQuiet(t *testing.T) {
	v, store := newStore(t)
	box := &notify.Outbox{Vault: v, Sender: &recorder{}, Policy: notify.OnProblem}
	if told, err := box.Deliver(t.Context(), okMessage(), "", anna); err != nil || told.Status != "quiet" {
		t.Errorf("%v, %v", told, err)
	}
	if told, err := box.Deliver(t.Context(), failedMessage(), ""); err != nil || told.Status != "quiet" || told.Message == "" {
		t.Errorf("without recipients: %v, %v", told, err)
	}
	if store.writes != 0 {
		t.Errorf("%d writes", store.writes)
	}
	if told, err := box.Deliver(t.Context(), failedMessage(), backup.Failed, anna); err != nil || told.Status != "sent" {
		t.Errorf("a failed run: %v, %v", told, err)
	}
}

func TestRefusalIsNoError(t *testing.T) {
	v, _ := newStore(t)
	token := anna.Link.URL[strings.LastIndexByte(anna.Link.URL, '/')+1:]
	c := &catcher{refuse: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "spam: " + anna.Link.URL + " and " + token[:20]}}
	box := &notify.Outbox{Vault: v, Sender: newSMTP(t, "smtp://"+c.serve(t, nil))}
	told, err := box.Deliver(t.Context(), okMessage(), "", anna)
	if err != nil || told.Status != "failed" || !strings.Contains(told.Message, "anna@example.org: ") || !strings.Contains(told.Message, "550") {
		t.Errorf("%+v, %v", told, err)
	}
	if strings.Contains(told.Message, token[:12]) || !strings.Contains(told.Message, "[link] and [link]") {
		t.Errorf("the message shows the link: %s", told.Message)
	}
	c.mu.Lock()
	c.refuse = nil
	c.mu.Unlock()
	if told, err := box.Deliver(t.Context(), okMessage(), "", anna); err != nil || told.Status != "sent" || c.count() != 1 {
		t.Errorf("again: %+v, %v", told, err)
	}
}

func TestLease(t *testing.T) {
	v, _ := newStore(t)
	now := noon
	var outer, inner *notify.Outbox
	sender, other := &recorder{}, &recorder{}
	outer = &notify.Outbox{Vault: v, Sender: sender, Holder: "outer", Now: func() time.Time { return now }}
	inner = &notify.Outbox{Vault: v, Sender: other, Holder: "inner", Now: func() time.Time { return now }}
	sender.then = func() error { // while outer is sending
		if _, err := inner.Deliver(t.Context(), okMessage(), "", anna); failure.KindOf(err) != failure.Transient || len(other.ids) != 0 {
			t.Errorf("a live claim: %v, %d sent", err, len(other.ids))
		}
		now = now.Add(5 * time.Minute)
		if told, err := inner.Deliver(t.Context(), okMessage(), "", anna); err != nil || told.Status != "sent" {
			t.Errorf("an expired claim: %+v, %v", told, err)
		}
		return nil
	}
	if told, err := outer.Deliver(t.Context(), okMessage(), "", anna); err != nil || told.Status != "sent" {
		t.Errorf("%+v, %v", told, err)
	}
	if diff := cmp.Diff(sender.ids, other.ids); diff != "" {
		t.Errorf("the repeated mail has another id:\n%s", diff)
	}
	if _, err := outer.Deliver(t.Context(), okMessage(), "", anna); err != nil || len(sender.ids)+len(other.ids) != 2 {
		t.Errorf("%v, %d mails", err, len(sender.ids)+len(other.ids))
	}
}

func TestConcurrentDeliveries(t *testing.T) {
	v, _ := newStore(t)
	sender := &recorder{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			box := &notify.Outbox{Vault: v, Sender: sender}
			if _, err := box.Deliver(context.Background(), okMessage(), "", anna); err != nil && failure.KindOf(err) != failure.Transient {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(sender.ids) != 1 {
		t.Errorf("%d mails", len(sender.ids))
	}
}

// TestCrashes fails each write of a delivery, before and after it takes effect, and repeats the delivery.
func TestCrashes(t *testing.T) {
	content := func(v *vault.Vault) string {
		data, _, err := v.Get(t.Context(), vault.Outbox("20261121T020000Z-abcdef", "backup", "anna@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	deliver := func(v *vault.Vault, sender notify.Sender) (catalog.Notified, error) {
		box := &notify.Outbox{Vault: v, Sender: sender, Holder: "run", Now: func() time.Time { return noon }}
		return box.Deliver(t.Context(), okMessage(), "", anna)
	}
	calm, _ := newStore(t)
	if _, err := deliver(calm, &recorder{}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []bool{false, true} {
		for n := 1; n <= 2; n++ {
			v, store := newStore(t)
			store.failAt, store.after = n, after
			sender := &recorder{}
			if _, err := deliver(v, sender); err == nil {
				t.Errorf("write %d failed unnoticed", n)
			}
			if told, err := deliver(v, sender); err != nil || told.Status != "sent" {
				t.Errorf("write %d, after %v: the repeat gives %+v, %v", n, after, told, err)
			}
			if diff := cmp.Diff(content(calm), content(v)); diff != "" {
				t.Errorf("write %d, after %v (-want +got):\n%s", n, after, diff)
			}
			if len(sender.ids) > 2 || len(sender.ids) == 2 && (n != 2 || after || sender.ids[0] != sender.ids[1]) {
				t.Errorf("write %d, after %v: sent %q", n, after, sender.ids)
			}
		}
	}
}

func TestCanceledDeliveryIsAnError(t *testing.T) {
	v, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	sender := &recorder{then: func() error { cancel(); return ctx.Err() }}
	box := &notify.Outbox{Vault: v, Sender: sender, Holder: "run"}
	if _, err := box.Deliver(ctx, okMessage(), "", anna); failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v", err)
	}
	sender.then = nil
	if told, err := box.Deliver(t.Context(), okMessage(), "", anna); err != nil || told.Status != "sent" {
		t.Errorf("the repeat: %+v, %v", told, err)
	}
}
