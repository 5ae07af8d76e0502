package link_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

const (
	source = backup.Source("photos")
	id     = backup.ID("20261121T020000Z-abcdef")
	other  = backup.ID("20261122T020000Z-ghijkl")
	anna   = "anna@example.org"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// newVault returns a vault in an in-process store. Writes are taken one by one, which makes the fake's conditions
// as race-proof as those of a real store.
func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(t.Context(), "vault"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend).Server()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			mu.Lock()
			defer mu.Unlock()
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), Region: "us-east-1", UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider("a", "b", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})
	return vault.New(client, "vault", nil)
}

func newService(t *testing.T) (*link.Service, *clock) {
	c := &clock{at: time.Date(2026, 11, 21, 2, 5, 0, 0, time.UTC)}
	return &link.Service{Vault: newVault(t), Key: secret.New(strings.Repeat("k", 32)), Now: c.now}, c
}

func issue(t *testing.T, s *link.Service, recipient string, o link.Options) link.Link {
	t.Helper()
	l, err := s.Issue(t.Context(), source, id, recipient, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func reason(err error) link.Reason {
	if refused, ok := errors.AsType[*link.Refused](err); ok {
		return refused.Reason
	}
	return ""
}

func TestIssueIsIdempotent(t *testing.T) {
	s, c := newService(t)
	first := issue(t, s, anna, link.Options{NeedsCode: true})
	c.move(time.Hour)
	again := issue(t, s, anna, link.Options{TTL: time.Minute})
	if first.Token.Reveal() != again.Token.Reveal() || !first.Expires.Equal(again.Expires) || !again.NeedsCode {
		t.Errorf("a repeated issue gives %v, not %v", again, first)
	}
	if got := len(first.Token.Reveal()); got != 43 {
		t.Errorf("the token has %d characters, not the 43 of 256 bits", got)
	}
	if got := issue(t, s, "bob@example.org", link.Options{}); got.ID == first.ID {
		t.Error("two recipients share a link")
	}
	state, err := s.Lookup(t.Context(), first.Token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 21, 2, 5, 0, 0, time.UTC)
	want := link.State{
		Format: 1, ID: first.ID, Source: source, Backup: id, Recipient: anna, Generation: 1, Created: start,
		Expires: start.Add(link.DefaultTTL), MaxMints: 20, NeedsCode: true,
	}
	if diff := cmp.Diff(want, state); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

// TestDownloadsOfEachFile: all volumes of a split archive can be had, as often as one file.
func TestDownloadsOfEachFile(t *testing.T) {
	s, _ := newService(t)
	for files, want := range map[int]int{0: link.MaxMints, 1: link.MaxMints, 25: 25 * link.MaxMints} {
		l := issue(t, s, fmt.Sprint(files, "@example.org"), link.Options{Files: files})
		if state, err := s.Lookup(t.Context(), l.Token.Reveal()); err != nil || state.MaxMints != want {
			t.Errorf("%d files: %d downloads, want %d: %v", files, state.MaxMints, want, err)
		}
	}
}

func TestStateHoldsNoToken(t *testing.T) {
	s, _ := newService(t)
	l := issue(t, s, anna, link.Options{})
	data, _, err := s.Vault.Get(t.Context(), vault.Link(l.ID))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), l.Token.Reveal()) {
		t.Error("the state holds the token")
	}
	logged, _ := json.Marshal(l)
	if text := fmt.Sprintf("%v %+v %s", l, l, logged); strings.Contains(text, l.Token.Reveal()) {
		t.Error("a printed link shows its token")
	}
	if want := "https://nas.example/l/" + l.Token.Reveal(); l.URL("https://nas.example/") != want {
		t.Errorf("URL is %s", l.URL("https://nas.example/"))
	}
}

func TestLookupOfStrangers(t *testing.T) {
	s, _ := newService(t)
	l := issue(t, s, anna, link.Options{})
	forged := &link.Service{Vault: s.Vault, Key: secret.New(strings.Repeat("x", 32)), Now: s.Now}
	theirs := issue(t, forged, anna, link.Options{})
	for _, token := range []string{"", "x", "../../vault", strings.Repeat("A", 43), l.Token.Reveal() + "A", theirs.Token.Reveal()} {
		if _, err := s.Lookup(t.Context(), token); failure.KindOf(err) != failure.NotFound {
			t.Errorf("Lookup(%q): %v, want not found", token, err)
		}
		if _, err := s.Mint(t.Context(), token, ""); failure.KindOf(err) != failure.NotFound {
			t.Errorf("Mint(%q): %v, want not found", token, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	s, c := newService(t)
	l := issue(t, s, anna, link.Options{TTL: time.Hour})
	c.move(time.Hour)
	_, err := s.Lookup(t.Context(), l.Token.Reveal())
	if reason(err) != link.Expired || !strings.Contains(err.Error(), "expired on 2026-11-21 03:05 UTC") {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := s.Mint(t.Context(), l.Token.Reveal(), ""); reason(err) != link.Expired {
		t.Errorf("Mint: %v", err)
	}
	if next := issue(t, s, anna, link.Options{}); next.ID == l.ID {
		t.Error("an expired link was issued again")
	}
}

func TestRevoke(t *testing.T) {
	s, _ := newService(t)
	first := issue(t, s, anna, link.Options{})
	issue(t, s, "bob@example.org", link.Options{})
	kept, err := s.Issue(t.Context(), source, other, anna, link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		if n, err := s.Revoke(t.Context(), source, id); n != want || err != nil {
			t.Errorf("Revoke = %d, %v; want %d", n, err, want)
		}
	}
	if _, err := s.Lookup(t.Context(), first.Token.Reveal()); reason(err) != link.Withdrawn || failure.HintOf(err) == "" {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := s.Mint(t.Context(), first.Token.Reveal(), ""); reason(err) != link.Withdrawn {
		t.Errorf("Mint: %v", err)
	}
	if _, err := s.Mint(t.Context(), kept.Token.Reveal(), ""); err != nil {
		t.Errorf("the link of another backup: %v", err)
	}
	next := issue(t, s, anna, link.Options{})
	if next.ID == first.ID {
		t.Error("a withdrawn link was issued again")
	}
	generations := map[int]int{}
	for state, err := range s.List(t.Context(), source, id) {
		if err != nil {
			t.Fatal(err)
		}
		generations[state.Generation]++
	}
	if diff := cmp.Diff(map[int]int{1: 2, 2: 1}, generations); diff != "" {
		t.Errorf("generations (-want +got):\n%s", diff)
	}
}

func TestCode(t *testing.T) {
	s, _ := newService(t)
	code := s.Code(source, id)
	if len(code) != 9 || code[4] != '-' || code != s.Code(source, id) || code == s.Code(source, other) {
		t.Fatalf("code %q", code)
	}
	l := issue(t, s, anna, link.Options{NeedsCode: true})
	token := l.Token.Reveal()
	plain := strings.ReplaceAll(code, "-", "")
	for _, good := range []string{code, strings.ToLower(code), plain, " " + plain[:2] + " " + plain[2:] + "\n"} {
		if _, err := s.Mint(t.Context(), token, good); err != nil {
			t.Errorf("code %q: %v", good, err)
		}
	}
	for range 3 {
		if state, err := s.Mint(t.Context(), token, ""); reason(err) != link.NoCode || state.WrongCodes != 0 {
			t.Errorf("no code: %v, %d wrong codes", err, state.WrongCodes)
		}
	}
	for n := 1; n <= link.MaxWrongCodes; n++ {
		state, err := s.Mint(t.Context(), token, "AAAA-AAAA")
		if reason(err) != link.WrongCode || state.TriesLeft() != link.MaxWrongCodes-n {
			t.Errorf("wrong code %d: %v, %d left", n, err, state.TriesLeft())
		}
	}
	if _, err := s.Mint(t.Context(), token, code); reason(err) != link.Locked {
		t.Errorf("the true code on a locked link: %v", err)
	}
	if state, err := s.Lookup(t.Context(), token); reason(err) != link.Locked || state.Mints != 4 {
		t.Errorf("Lookup: %v, %d mints", err, state.Mints)
	}
	if next := issue(t, s, anna, link.Options{NeedsCode: true}); next.ID == l.ID {
		t.Error("a locked link was issued again")
	}
}

func TestConcurrentMintsAreCounted(t *testing.T) {
	s, _ := newService(t)
	l := issue(t, s, anna, link.Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[link.Reason]int{}
	for range link.MaxMints + 5 {
		wg.Go(func() {
			_, err := s.Mint(context.Background(), l.Token.Reveal(), "")
			mu.Lock()
			defer mu.Unlock()
			if err != nil && reason(err) == "" {
				t.Error(err)
			}
			got[reason(err)]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[link.Reason]int{"": 20, link.UsedUp: 5}, got); diff != "" {
		t.Errorf("mints (-want +got):\n%s", diff)
	}
	if state, err := s.Lookup(t.Context(), l.Token.Reveal()); state.Mints != 20 || failure.KindOf(err) != failure.Exhausted {
		t.Errorf("%d mints, %v", state.Mints, err)
	}
}

func TestRefusesStatesItCannotRead(t *testing.T) {
	s, _ := newService(t)
	l := issue(t, s, anna, link.Options{})
	for _, test := range []struct {
		state link.State
		kind  failure.Kind
	}{
		{link.State{Format: 2, ID: l.ID}, failure.Invalid},
		{link.State{Format: 1, ID: "0123456789abcdef"}, failure.Corrupt},
	} {
		if _, err := s.Vault.PutJSON(t.Context(), vault.Link(l.ID), test.state, vault.Always()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lookup(t.Context(), l.Token.Reveal()); failure.KindOf(err) != test.kind {
			t.Errorf("Lookup: %v, want %v", err, test.kind)
		}
	}
	weak := &link.Service{Vault: s.Vault, Key: secret.New("short")}
	if _, err := weak.Issue(t.Context(), source, id, anna, link.Options{}); failure.KindOf(err) != failure.Usage {
		t.Errorf("a short key: %v", err)
	}
}
