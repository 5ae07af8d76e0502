// Package vaulttest gives tests a vault on the embedded server, and a transport that fails where a test says so.
//
// One server serves all tests of a package, each in a bucket of its own. Sweeps that make hundreds of vaults can have
// them on the modelled store instead. Only tests import it.
package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/local"
	"lifeboat/internal/s3model"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

var shared struct {
	sync.Mutex
	server  *local.Server
	folder  string
	buckets int
}

// Main is the TestMain of a package that uses New.
func Main(m *testing.M) {
	if local.ChildMain() {
		return
	}
	code := m.Run()
	if shared.server != nil {
		if err := errors.Join(shared.server.Close(), os.RemoveAll(shared.folder)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Hook stands between the client and the server: it calls next, or answers in its place.
type Hook func(r *http.Request, next http.RoundTripper) (*http.Response, error)

// Store is an empty vault.
type Store struct {
	*vault.Vault
	Client *s3.Client
	Folder string // where the objects lie as plain files; "" on the modelled store

	mutex sync.Mutex
	hook  Hook
	next  http.RoundTripper
}

// New returns an empty vault.
func New(t testing.TB) *Store {
	t.Helper()
	server, bucket := attach(t)
	access, key := server.Credentials()
	s := &Store{next: server.HTTPClient().Transport, Folder: filepath.Join(shared.folder, "buckets", bucket)}
	s.connect(t, bucket, vault.Store{Endpoint: server.URL(), Region: server.Region(), AccessKey: secret.New(access), SecretKey: key})
	return s
}

// modelVariable makes Any choose the modelled store.
const modelVariable = "LIFEBOAT_TEST_MODEL"

// Any returns an empty vault for a test that speaks nothing but S3: New's, or with LIFEBOAT_TEST_MODEL=1 one on the
// modelled store (internal/s3model, which its own tests hold against the server), at a third of the cost.
func Any(t testing.TB) *Store {
	t.Helper()
	if os.Getenv(modelVariable) == "" {
		return New(t)
	}
	s := &Store{next: InProcess(s3model.New(s3model.Options{}))}
	s.connect(t, "test", vault.Store{
		Endpoint: "http://store.test", Region: "us-east-1", AccessKey: secret.New("test"), SecretKey: secret.New("test"),
	})
	return s
}

// connect makes the bucket through the store's own transport.
func (s *Store) connect(t testing.TB, bucket string, store vault.Store) {
	t.Helper()
	store.HTTP = &http.Client{Transport: s}
	client, err := vault.Connect(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	s.Client, s.Vault = client, vault.New(client, bucket, nil)
	if err := s.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func attach(t testing.TB) (*local.Server, string) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		folder, err := os.MkdirTemp("", "vaulttest-")
		if err == nil {
			shared.server, err = local.Attach(context.WithoutCancel(t.Context()), folder, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		shared.folder = folder
	}
	shared.buckets++
	return shared.server, fmt.Sprintf("test-%04d", shared.buckets)
}

// Intercept sets the hook; nil removes it.
func (s *Store) Intercept(hook Hook) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.hook = hook
}

// RoundTrip implements http.RoundTripper.
func (s *Store) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mutex.Lock()
	hook := s.hook
	s.mutex.Unlock()
	if hook == nil {
		return s.next.RoundTrip(r)
	}
	return hook(r, s.next)
}

// Keys returns every key of the vault, sorted.
func (s *Store) Keys(t testing.TB) []string {
	t.Helper()
	keys := []string{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(info.Key))
	}
	return keys
}

// NoUploads fails the test where a multipart upload is left behind.
func (s *Store) NoUploads(t testing.TB) {
	t.Helper()
	for u, err := range s.Uploads(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("an upload of %s was left behind", u.Key)
	}
}

// Path returns the file that holds an object.
func (s *Store) Path(key vault.Key) string {
	return filepath.Join(s.Folder, filepath.FromSlash(string(key)))
}

const sample = 5 // of so many calls a short sweep takes one

// Calls are the calls at which a sweep is to fail, before or after they took effect: all, counted from 1, until the test
// has seen the last. With -short they are every fifth, other ones before than after.
func Calls(after bool) iter.Seq[int] {
	return func(yield func(int) bool) {
		first, step := 1, 1
		if testing.Short() {
			step = sample
			if after {
				first = 1 + sample/2
			}
		}
		for n := first; yield(n); n += step {
		}
	}
}

// Refuse answers with an error of the store.
func Refuse(r *http.Request, status int, code string) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	body := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>as the test wants it</Message></Error>`, code)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// ErrDropped is what a client sees whose connection breaks.
var ErrDropped = errors.New("connection reset by the test")

// Drop has the server do the request and loses its answer.
func Drop(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	answer, err := next.RoundTrip(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	return nil, ErrDropped
}

// Once applies hook to the first request that match accepts.
func Once(match func(*http.Request) bool, hook Hook) Hook {
	var once sync.Once
	return func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		chosen := next.RoundTrip
		if match(r) {
			once.Do(func() { chosen = func(r *http.Request) (*http.Response, error) { return hook(r, next) } })
		}
		return chosen(r)
	}
}
