package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
	"lifeboat/internal/secret"
)

const (
	hookURL = "https://hooks.example.org/services/T0KEN-IN-THE-PATH"
	hookKey = "0123456789abcdef0123456789abcdef"
)

func newWebhook(t *testing.T, url string, client *http.Client) *notify.Webhook {
	t.Helper()
	hook, err := notify.NewWebhook(secret.New(url), secret.New(hookKey))
	if err != nil {
		t.Fatal(err)
	}
	hook.Client = client
	return hook
}

func TestWebhook(t *testing.T) {
	sent, _ := compose(t, partialMessage())
	var header http.Header
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	hook := newWebhook(t, server.URL, server.Client())
	hook.Now = func() time.Time { return time.Unix(1_795_226_400, 0) }
	receipt, err := hook.Send(t.Context(), sent)
	if err != nil || receipt.Status != notify.Sent {
		t.Fatalf("%v, %v", receipt, err)
	}
	mac := hmac.New(sha256.New, []byte(hookKey)) // as a receiver computes it
	fmt.Fprintf(mac, "%s.%s", header.Get(notify.WebhookTimestamp), body)
	if want := "v1=" + hex.EncodeToString(mac.Sum(nil)); header.Get(notify.WebhookSignature) != want || header.Get(notify.WebhookTimestamp) != "1795226400" {
		t.Errorf("signed %s at %s, want %s", header.Get(notify.WebhookSignature), header.Get(notify.WebhookTimestamp), want)
	}
	var got notify.WebhookBody
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := notify.WebhookBody{Format: 1, ID: sent.ID, Run: string(sent.Run), Message: "backup", Subject: sent.Subject, Text: sent.Text}
	if got != want || header.Get(notify.WebhookID) != sent.ID {
		t.Errorf("got %+v", got)
	}
}

// answers is a transport that gives one answer after the other: a status, or an error.
type answers struct {
	list  []any
	asked []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	next := a.list[min(len(a.asked), len(a.list)-1)]
	a.asked = append(a.asked, time.Now())
	if err, ok := next.(error); ok {
		return nil, err
	}
	header := http.Header{"Location": {"https://elsewhere.example.org/"}}
	return &http.Response{StatusCode: next.(int), Header: header, Body: io.NopCloser(bytes.NewReader(nil)), Request: r}, nil
}

func TestWebhookTries(t *testing.T) {
	for _, c := range []struct {
		answers []any
		asked   int
		took    time.Duration
		kind    failure.Kind
		fails   bool
	}{
		{[]any{200}, 1, 0, 0, false},
		{[]any{503, errors.New("reset"), 204}, 3, 4 * time.Second, 0, false},
		{[]any{429}, 3, 4 * time.Second, failure.Transient, true},
		{[]any{errors.New("reset")}, 3, 4 * time.Second, failure.Transient, true},
		{[]any{401}, 1, 0, failure.Denied, true},
		{[]any{302}, 1, 0, failure.Invalid, true},
		{[]any{410}, 1, 0, failure.Invalid, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := &answers{list: c.answers}
			sent, _ := compose(t, okMessage())
			began := time.Now()
			_, err := newWebhook(t, hookURL, &http.Client{Transport: transport}).Send(t.Context(), sent)
			if (err != nil) != c.fails || err != nil && failure.KindOf(err) != c.kind {
				t.Errorf("%v: %v (%v)", c.answers, err, failure.KindOf(err))
			}
			if len(transport.asked) != c.asked || time.Since(began) != c.took {
				t.Errorf("%v: asked %d times in %s", c.answers, len(transport.asked), time.Since(began))
			}
			if text := fmt.Sprint(err, failure.HintOf(err)); strings.Contains(text, "T0KEN") {
				t.Errorf("%v: the error shows the URL: %s", c.answers, text)
			}
		})
	}
}

// silent never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestWebhookSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent, _ := compose(t, okMessage())
		hook := newWebhook(t, hookURL, &http.Client{Transport: silent{}})
		began := time.Now()
		_, err := hook.Send(t.Context(), sent)
		if failure.KindOf(err) != failure.Transient || time.Since(began) > 40*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := hook.Send(ctx, sent); failure.KindOf(err) != failure.Canceled {
			t.Errorf("canceled: %v", err)
		}
	})
}

func TestWebhookCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	sent, _ := compose(t, okMessage())
	if _, err := newWebhook(t, server.URL, nil).Send(t.Context(), sent); failure.KindOf(err) != failure.Denied {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func TestNewWebhookRefuses(t *testing.T) {
	for url, key := range map[string]string{
		"http://hooks.example.org/T0KEN": hookKey, "https://user:T0KEN@host/": hookKey, "T0KEN": hookKey, "https:///T0KEN": hookKey,
		"https://host/T0KEN": "short",
	} {
		_, err := notify.NewWebhook(secret.New(url), secret.New(key))
		if failure.KindOf(err) != failure.Usage || err == nil || strings.Contains(fmt.Sprint(err, failure.HintOf(err)), "T0KEN") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestWebhookThroughOutbox delivers to a webhook as to a person: once, and with a name in the record that betrays
// nothing.
func TestWebhookThroughOutbox(t *testing.T) {
	store, _ := newStore(t)
	transport := &answers{list: []any{200}}
	hook := newWebhook(t, hookURL, &http.Client{Transport: transport})
	outbox := notify.Outbox{Vault: store, Sender: hook}
	var told catalog.Notified
	for range 2 {
		var err error
		if told, err = outbox.Deliver(t.Context(), okMessage(), "", notify.Recipient{Address: hook.Address()}); err != nil {
			t.Fatal(err)
		}
	}
	if len(transport.asked) != 1 || told.Status != "sent" || len(told.To) != 1 || strings.Contains(told.To[0], "T0KEN") || !strings.HasSuffix(told.To[0], "@hooks.example.org") {
		t.Errorf("asked %d times, told %+v", len(transport.asked), told)
	}
}
