package cloud

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const bucket, role = "arn:aws:s3:::vault", "arn:aws:iam::111122223333:role/package"

func lockable() *Cloud {
	return &Cloud{keys: map[string]string{}, access: &access{
		names: map[string]string{}, used: map[right]bool{},
		roles: map[string][]statement{role: {
			{actions: []string{"s3:PutObjectRetention", "s3:GetObjectRetention"}, resources: []string{bucket + "/packs/*"}},
			{
				actions: []string{"s3:GetObject"}, resources: []string{"arn:aws:s3:::data/*"},
				conditions: []condition{{"StringEquals", "aws:ResourceAccount", []string{Account}}},
			},
		}},
		resources: map[string][]statement{bucket: {{
			deny: true, principals: []string{"*"}, actions: []string{"s3:PutObjectRetention"}, resources: []string{bucket + "/*"},
			conditions: []condition{{"NumericGreaterThan", "s3:object-lock-remaining-retention-days", []string{"34"}}},
		}}},
	}}
}

// TestLongLocks: for how long an object is to be locked stands in the body, and the bucket's policy is asked about it.
func TestLongLocks(t *testing.T) {
	c, f := lockable(), &Function{role: role}
	for days, want := range map[int]bool{1: true, 33: true, 34: true, 35: false, 400: false} {
		until := time.Now().Add(time.Duration(days)*24*time.Hour - time.Minute).UTC().Format(time.RFC3339)
		body := fmt.Sprintf("<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>", until)
		r := httptest.NewRequest(http.MethodPut, "/vault/packs/a?retention", strings.NewReader(body))
		noteRetention(r)
		if got := c.mayS3(f, r, "s3:PutObjectRetention", "vault", "packs/a"); got != want {
			t.Errorf("%d days: %v", days, got)
		}
		if again, err := io.ReadAll(r.Body); err != nil || string(again) != body {
			t.Errorf("the body is %q then, %v", again, err)
		}
	}
	if n := len(c.Refused()); n != 2 {
		t.Errorf("%d refusals", n)
	}
}

// TestLooks: who may not see a lock gets an answer without it, and nobody counts that as a refusal.
func TestLooks(t *testing.T) {
	c, head := lockable(), httptest.NewRequest(http.MethodHead, "/vault/packs/a", nil)
	for key, want := range map[string]bool{"packs/a": true, "catalog/a": false} {
		if got := c.mayS3(&Function{role: role}, head, "s3:GetObjectRetention", "vault", key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
	if refused := c.Refused(); len(refused) > 0 {
		t.Errorf("refused %v", refused)
	}
}

// TestOwners: a bucket of the same name in another account is none that the role reaches.
func TestOwners(t *testing.T) {
	c, get := lockable(), httptest.NewRequest(http.MethodGet, "/data/a", nil)
	f := &Function{role: role}
	if !c.mayS3(f, get, "s3:GetObject", "data", "a") {
		t.Error("the account's own bucket is refused")
	}
	c.options.Owners = map[string]string{"data": "999999999999"}
	if c.mayS3(f, get, "s3:GetObject", "data", "a") {
		t.Error("somebody else's bucket is read")
	}
}

// TestSandbox: in the sandbox SES asks about the identity of each recipient, and sends to none that nobody has confirmed.
func TestSandbox(t *testing.T) {
	const address = "backups@example.com"
	for name, c := range map[string]struct {
		resource, from string
		to             []string
		want           bool
	}{
		"of the sender's domain":      {arn("ses", "identity/example.com"), address, []string{"ops@example.com"}, true},
		"confirmed, and not allowed":  {arn("ses", "identity/example.com"), address, []string{"ops@example.net"}, false},
		"confirmed, and allowed":      {arn("ses", "identity/*"), address, []string{"ops@example.net"}, true},
		"one of two, and not allowed": {arn("ses", "identity/example.com"), address, []string{"ops@example.com", "ops@example.net"}, false},
		"another sender":              {arn("ses", "identity/*"), "root@example.com", []string{"ops@example.net"}, false},
	} {
		c0 := lockable()
		c0.Template = &Template{Resources: map[string]*Resource{"Sender": {Type: "AWS::SES::EmailIdentity", Properties: map[string]any{"EmailIdentity": "example.com"}}}}
		c0.resolver, c0.options.Verified = newResolver(c0.Template), []string{"ops@example.net"}
		c0.access.roles[role] = []statement{{
			actions: []string{"ses:SendEmail", "ses:SendRawEmail"}, resources: []string{c.resource},
			conditions: []condition{{"StringEquals", "ses:FromAddress", []string{address}}},
		}}
		if got := c0.maySend(&Function{role: role}, c.from, "", c.to); got != c.want || len(c0.Refused()) > 0 == c.want {
			t.Errorf("%s: %v, refused %v", name, got, c0.Refused())
		}
		if c0.maySend(&Function{role: role}, c.from, "", []string{"stranger@example.org"}); len(c0.Refused()) == 0 {
			t.Errorf("%s: mail to somebody whom nobody has confirmed leaves", name)
		}
	}
}
