package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// The headers of a webhook's request. The signature is "v1=" and the hexadecimal HMAC-SHA256, under the shared key, of
// the timestamp as it stands in its header, a ".", and the body. A receiver compares it in constant time and refuses
// timestamps that are more than a few minutes off; the id repeats when a message does.
const (
	WebhookID        = "Lifeboat-Id"
	WebhookTimestamp = "Lifeboat-Timestamp" // seconds since 1970
	WebhookSignature = "Lifeboat-Signature"
)

// Bounds of a delivery to a webhook.
const (
	webhookTries  = 3
	webhookTry    = 10 * time.Second
	webhookPause  = time.Second // before the second try; before each further one three times as long
	webhookAnswer = 64 << 10    // bytes of an answer that are read, so that the connection can be used again
	webhookMinKey = 16          // bytes
)

// Webhook is a Sender that posts a message as JSON to an https URL, signed. Its recipient is Address: that way the
// Outbox delivers to it as it does to people.
type Webhook struct {
	Client *http.Client     // http.DefaultTransport's, without redirects, when nil
	Now    func() time.Time // time.Now when nil

	url  *url.URL
	text *secret.String // of the URL, which may hold a token; a pointer, see SMTP
	key  *secret.String
}

// WebhookBody is what a webhook gets.
type WebhookBody struct {
	Format  int    `json:"format"`  // 1
	ID      string `json:"id"`      // of the message, the same when it is repeated
	Run     string `json:"run"`     // id of the backup or of the restore
	Message string `json:"message"` // "backup", "restore-1", …: which of the run's messages it is
	Subject string `json:"subject"` // begins with the status in brackets, as that of the mail does
	Text    string `json:"text"`    // what the mail says
}

// NewWebhook returns the sender for an https URL and a shared key of at least 16 bytes, or a Usage error, which holds
// neither.
func NewWebhook(address, key secret.String) (*Webhook, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, failure.New(failure.Usage, "the webhook's address is no https URL").WithHint("write https://host/path; it may be a reference to a secret")
	}
	if len(key.Reveal()) < webhookMinKey {
		return nil, failure.New(failure.Usage, "the webhook's key has less than %d bytes", webhookMinKey).WithHint("take a random one: openssl rand -hex 32")
	}
	return &Webhook{url: u, text: &address, key: &key}, nil
}

// Address names the webhook to the Outbox, and in records: by its host and a digest of its URL.
func (h *Webhook) Address() string {
	host := h.url.Hostname()
	if !domainPattern.MatchString(host) {
		host = "webhook.invalid"
	}
	return fmt.Sprintf("webhook-%s@%s", digest(h.text.Reveal()), host)
}

// Send implements Sender. It tries three times where the receiver does not answer, throttles or fails. What it says
// then is Transient; a refusal is Denied or Invalid.
func (h *Webhook) Send(ctx context.Context, m *Mail) (Receipt, error) {
	body, err := json.Marshal(WebhookBody{1, m.ID, string(m.Run), m.Name, m.Subject, m.Text})
	if err != nil {
		return Receipt{}, err
	}
	pause := webhookPause
	for try := 1; ; try++ {
		err := h.post(ctx, m.ID, body)
		switch {
		case err == nil:
			return Receipt{Status: Sent}, nil
		case try == webhookTries || failure.KindOf(err) != failure.Transient:
			return Receipt{}, err
		}
		select {
		case <-ctx.Done():
			return Receipt{}, failure.New(failure.Canceled, "call the webhook at %s: %w", h.url.Host, ctx.Err())
		case <-time.After(pause):
			pause *= 3
		}
	}
}

// post makes one request.
func (h *Webhook) post(ctx context.Context, id string, body []byte) error {
	doing := "call the webhook at " + h.url.Host
	limited, cancel := context.WithTimeout(ctx, webhookTry)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, h.text.Reveal(), bytes.NewReader(body))
	if err != nil {
		return failure.New(failure.Internal, "%s: its URL is none", doing)
	}
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	timestamp := strconv.FormatInt(now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "lifeboat")
	request.Header.Set(WebhookID, id)
	request.Header.Set(WebhookTimestamp, timestamp)
	request.Header.Set(WebhookSignature, signature(*h.key, timestamp, body))
	response, err := h.client().Do(request)
	if err != nil {
		return h.unanswered(ctx, doing, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, webhookAnswer)) // its status is its answer
	return ofWebhook(doing, response.StatusCode)
}

// unanswered says why there was no answer. The error of the client would quote the URL.
func (h *Webhook) unanswered(ctx context.Context, doing string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return failure.New(failure.Canceled, "%s: %w", doing, context.Canceled)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failure.New(failure.Denied, "%s: %w", doing, certificate).WithHint("the certificate must be valid for %s", h.url.Hostname())
	}
	if asked, ok := errors.AsType[*url.Error](err); ok && !asked.Timeout() {
		return failure.New(failure.Transient, "%s: %w", doing, asked.Err)
	}
	return failure.New(failure.Transient, "%s: it does not answer", doing)
}

func ofWebhook(doing string, status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return failure.New(failure.Denied, "%s: it answers %d", doing, status).WithHint("does the receiver have the same key?")
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return failure.New(failure.Transient, "%s: it answers %d", doing, status)
	case status >= 300 && status < 400:
		return failure.New(failure.Invalid, "%s: it answers with a redirect (%d), which is not followed", doing, status).WithHint("name the address it leads to")
	}
	return failure.New(failure.Invalid, "%s: it answers %d", doing, status)
}

func (h *Webhook) client() *http.Client {
	client := http.Client{}
	if h.Client != nil {
		client = *h.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// signature signs a body and the time at which it is sent.
func signature(key secret.String, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}
