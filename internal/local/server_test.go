//go:build unix

package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/failure"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestVaultOutlivesServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "vault")
	first, client := withBucket(t, folder)
	put(t, client, "k", "k")
	if !first.Started() {
		t.Error("the first to attach did not start the server")
	}
	again := attach(t, folder)
	if again.Started() || again.URL() != first.URL() {
		t.Errorf("the second got %s (started: %v), the first %s", again.URL(), again.Started(), first.URL())
	}
	if err := first.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := attach(t, folder)
	if !second.Started() || second.URL() != first.URL() {
		t.Errorf("restarted at %s (started: %v), want %s again", second.URL(), second.Started(), first.URL())
	}
	if diff := cmp.Diff(first.creds, second.creds); diff != "" {
		t.Errorf("credentials changed:\n%s", diff)
	}
	if err := checkObject(t.Context(), clientOf(second), "k"); err != nil {
		t.Error(err)
	}
	if first.Region() != "us-east-1" {
		t.Errorf("region %s", first.Region())
	}
}

func TestLinkToVault(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	first, second := attach(t, link), attach(t, folder)
	if second.Started() || first.URL() != second.URL() {
		t.Errorf("the folder has the servers %s and %s", first.URL(), second.URL())
	}
}

func BenchmarkStart(b *testing.B) {
	folder := b.TempDir()
	for b.Loop() {
		s, err := Attach(b.Context(), folder, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	s, err := Attach(b.Context(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		conn, err := s.connect(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}

func TestOnlyTheUserMayRead(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "vault")
	_, client := withBucket(t, folder)
	put(t, client, "folder/k", "k")
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || strings.Contains(path, ".vgwlocks") { // empty files, behind folders that nobody else enters
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestManyProcessesShareOneServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "vault")
	helpers := make([]*helper, 8)
	for i := range helpers {
		helpers[i] = startHelper(t, folder)
	}
	started, urls := 0, map[string]bool{}
	for _, h := range helpers {
		h.wait(t)
		urls[h.URL] = true
		if h.Started {
			started++
		}
	}
	if started != 1 || len(urls) != 1 {
		t.Errorf("%d processes started a server, at %v", started, urls)
	}
}

func TestServerEndsWithKilledParent(t *testing.T) {
	folder := t.TempDir()
	h := startHelper(t, folder)
	h.wait(t)
	h.kill()
	holdLock(t, layout(folder))()
	s := attach(t, folder)
	if !s.Started() || s.URL() != h.URL {
		t.Errorf("restarted at %s (started: %v), want %s again", s.URL(), s.Started(), h.URL)
	}
}

func TestRevivalAfterOwner(t *testing.T) {
	for name, end := range map[string]func(*helper){"exits": (*helper).exit, "is killed": (*helper).kill} {
		t.Run("owner "+name, func(t *testing.T) {
			folder := t.TempDir()
			owner := startHelper(t, folder)
			owner.wait(t)
			_, client := withBucket(t, folder)
			other := startHelper(t, folder)
			other.wait(t)
			put(t, client, "before", "before")
			other.do(t, "put other")
			end(owner)
			put(t, client, "after", "after")
			for _, key := range []string{"before", "other", "after"} {
				if err := checkObject(t.Context(), client, key); err != nil {
					t.Error(err)
				}
				other.do(t, "get "+key)
			}
		})
	}
}

func TestRevivalOfOwnServer(t *testing.T) {
	s, client := withBucket(t, t.TempDir())
	put(t, client, "before", "before")
	if err := s.child.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.child.done
	if s.Started() {
		t.Error("a killed child counts as running")
	}
	if err := checkObject(t.Context(), client, "before"); err != nil {
		t.Error(err)
	}
	if !s.Started() {
		t.Error("the server did not come back")
	}
}

func TestRevivalOnAnotherPort(t *testing.T) {
	s, client := withBucket(t, t.TempDir())
	put(t, client, "before", "before")
	if err := s.child.stop(); err != nil {
		t.Fatal(err)
	}
	thief, err := net.Listen("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	go func() { // takes connections and never proves anything
		for conn, err := thief.Accept(); err == nil; conn, err = thief.Accept() {
			_ = conn.Close()
		}
	}()
	old := s.URL()
	if err := checkObject(t.Context(), client, "before"); err != nil {
		t.Error(err)
	}
	if s.URL() == old {
		t.Error("the address did not change")
	}
}

func TestCloseIsFinal(t *testing.T) {
	s := attach(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := s.HTTPClient().Do(r); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed server answered %v, %v", response, err)
	}
	holdLock(t, s.vault)()
}

func TestDyingServerIsWaitedFor(t *testing.T) {
	folder := t.TempDir()
	v, err := newLayout(folder)
	if err != nil {
		t.Fatal(err)
	}
	release := holdLock(t, v)
	got := make(chan error, 1)
	go func() {
		s, err := Attach(t.Context(), folder, nil)
		if err == nil {
			err = s.Close()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("did not wait for the lock: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestIncompatibleServerIsAConflict(t *testing.T) {
	folder := t.TempDir()
	v, err := newLayout(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer holdLock(t, v)()
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := address{URL: "http://" + l.Addr().String(), PID: 4711, Protocol: protocol + 1, Version: "v99.0.0"}
	if err := v.writeAddress(a); err != nil {
		t.Fatal(err)
	}
	_, err = Attach(t.Context(), folder, nil)
	if failure.KindOf(err) != failure.Conflict || !strings.Contains(err.Error(), "v99.0.0") {
		t.Errorf("got %v, want a conflict that names the version", err)
	}
	if hint := failure.HintOf(err); !strings.Contains(hint, "4711") {
		t.Errorf("the hint %q does not name the process", hint)
	}
}

func TestErrorsOfTheStart(t *testing.T) {
	t.Run("credentials", func(t *testing.T) {
		folder := t.TempDir()
		v, err := newLayout(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeFile(v.credentialsFile(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		_, err = Attach(t.Context(), folder, nil)
		if failure.KindOf(err) != failure.Corrupt {
			t.Errorf("got %v, want corrupt credentials", err)
		}
	})
	t.Run("not a folder", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Attach(t.Context(), file, nil); err == nil {
			t.Error("attached to a file")
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Attach(ctx, t.TempDir(), nil); failure.KindOf(err) != failure.Canceled {
			t.Errorf("got %v, want canceled", err)
		}
	})
}

func TestServerHasItsOwnProcessGroupAndNoSecretsOutside(t *testing.T) {
	s := attach(t, t.TempDir())
	pid := s.child.cmd.Process.Pid
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d (%v), want %d", group, err, pid)
	}
	for _, value := range append(s.child.cmd.Args, s.child.cmd.Env...) {
		if strings.Contains(value, s.creds.Secret) || strings.Contains(value, s.creds.Access) {
			t.Errorf("the credentials are in %q", value)
		}
	}
	if _, secret := s.Credentials(); secret.Reveal() != s.creds.Secret {
		t.Error("Credentials returns another secret")
	}
}
