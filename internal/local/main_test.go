//go:build unix

package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"golang.org/x/sys/unix"
)

// helperVariable makes this test binary a process that attaches to the folder in it.
const helperVariable = "LIFEBOAT_TEST_ATTACH"

func TestMain(m *testing.M) {
	if ChildMain() {
		return
	}
	if folder := os.Getenv(helperVariable); folder != "" {
		if err := helperMain(folder); err != nil {
			fmt.Println(err)
		}
		return
	}
	_ = os.Unsetenv("LIFEBOAT_TEST_SERVER") // these tests are about the server
	m.Run()
}

// attached is what a helper says about its server.
type attached struct {
	URL     string
	Started bool
}

// helperMain attaches and says so, then does what the lines of its standard input say: "put KEY" and "get KEY" to the
// bucket, answered by "ok" or an error. At the end of its input it closes.
func helperMain(folder string) error {
	ctx := context.Background()
	s, err := Attach(ctx, folder, nil)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(attached{s.URL(), s.Started()}); err != nil {
		return err
	}
	client := clientOf(s)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, key, _ := strings.Cut(in.Text(), " ")
		if verb == "put" {
			_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)})
		} else {
			err = checkObject(ctx, client, key)
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	return s.Close()
}

var bucket = "vault"

func checkObject(ctx context.Context, client *s3.Client, key string) error {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	body, err := io.ReadAll(out.Body)
	if err == nil && string(body) != key {
		err = fmt.Errorf("object %s holds %q", key, body)
	}
	return errors.Join(err, out.Body.Close())
}

func clientOf(s *Server) *s3.Client {
	access, secret := s.Credentials()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL()),
		Region:       s.Region(),
		UsePathStyle: true,
		HTTPClient:   s.HTTPClient(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: access, SecretAccessKey: secret.Reveal()}, nil
		}),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})
}

// attach returns a server that ends with the test.
func attach(t *testing.T, folder string) *Server {
	t.Helper()
	s, err := Attach(t.Context(), folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if log, _ := os.ReadFile(s.vault.logFile()); bytes.Contains(log, []byte("DATA RACE")) {
			t.Errorf("in the server:\n%s", log)
		}
	})
	return s
}

// withBucket returns a client of a new server in folder, which has a bucket.
func withBucket(t *testing.T, folder string) (*Server, *s3.Client) {
	t.Helper()
	s := attach(t, folder)
	client := clientOf(s)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	return s, client
}

func put(t *testing.T, client *s3.Client, key, body string) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}
	if _, err := client.PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// wantCode fails unless err is the S3 error with that code.
func wantCode(t *testing.T, err error, codes ...string) {
	t.Helper()
	got := "no error"
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		got = e.ErrorCode()
	} else if err != nil {
		t.Fatalf("got %v, want the S3 error %v", err, codes)
	}
	if slices.Contains(codes, got) {
		return
	}
	t.Fatalf("got %s (%v), want %v", got, err, codes)
}

func statusOf(err error) int {
	if e, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		return e.HTTPStatusCode()
	}
	return http.StatusOK
}

// helper is another process that has attached.
type helper struct {
	attached
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHelper(t *testing.T, folder string) *helper {
	t.Helper()
	h := &helper{cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), helperVariable+"="+folder, raceOptions)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	t.Cleanup(func() { h.exit() })
	return h
}

// wait returns when the helper has attached.
func (h *helper) wait(t *testing.T) {
	t.Helper()
	line, _ := h.out.ReadString('\n')
	if err := json.Unmarshal([]byte(line), &h.attached); err != nil {
		t.Fatalf("the helper did not attach: %s", line)
	}
}

func (h *helper) do(t *testing.T, command string) {
	t.Helper()
	fmt.Fprintln(h.in, command)
	if line, _ := h.out.ReadString('\n'); line != "ok\n" {
		t.Fatalf("%s: %s", command, line)
	}
}

func (h *helper) exit() {
	_ = h.in.Close()
	_ = h.cmd.Wait()
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	h.exit()
}

// holdLock waits until no server holds the folder's lock, and takes it until the returned function is called.
func holdLock(t *testing.T, v layout) (release func()) {
	t.Helper()
	f, err := os.OpenFile(v.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(stopTimeout):
		t.Fatal("a server still holds the lock")
	}
	return func() { _ = f.Close() }
}
