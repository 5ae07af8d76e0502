package secret_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// counter answers with how often it was asked.
type counter struct {
	asked int
	fail  error
}

func (c *counter) Resolve(_ context.Context, scheme, name string) (secret.String, error) {
	c.asked++
	if name == "empty" {
		return secret.String{}, nil
	}
	return secret.New(fmt.Sprintf("%s %s %d", scheme, name, c.asked)), c.fail
}

func TestInstalledResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		secret.Install(c, 5*time.Minute)
		defer secret.Install(nil, 0)
		resolve := func(r secret.Reference, want string) {
			t.Helper()
			if got, err := r.Resolve(); err != nil || got.Reveal() != want {
				t.Errorf("%v: %q, %v; want %q", r, got.Reveal(), err, want)
			}
		}
		resolve("ssm:/lifeboat/token", "ssm /lifeboat/token 1")
		resolve("ssm:/lifeboat/token", "ssm /lifeboat/token 1")
		resolve("secretsmanager:arn:aws:x#key", "secretsmanager arn:aws:x#key 2")
		time.Sleep(5*time.Minute - time.Second)
		resolve("ssm:/lifeboat/token", "ssm /lifeboat/token 1")
		time.Sleep(time.Second)
		resolve("ssm:/lifeboat/token", "ssm /lifeboat/token 3")

		c.fail = failure.New(failure.Transient, "later")
		for range 2 { // an error is not kept, and gives no value
			got, err := secret.Reference("ssm:other").Resolve()
			if failure.KindOf(err) != failure.Transient || !got.Empty() {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
		}
		if c.asked != 5 {
			t.Errorf("asked %d times", c.asked)
		}
	})
}

func TestResolverRefuses(t *testing.T) {
	secret.Install(&counter{}, time.Minute)
	for _, r := range []secret.Reference{"ssm:", "secretsmanager:", "ssm:empty"} {
		if _, err := r.Resolve(); failure.KindOf(err) != failure.Usage {
			t.Errorf("%v: %v", r, err)
		}
	}
	secret.Install(nil, 0)
	if _, err := secret.Reference("ssm:a").Resolve(); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Errorf("without a resolver: %v", err)
	}
}
