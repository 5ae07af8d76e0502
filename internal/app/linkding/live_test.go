package linkding

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// PlayLinkding plays linkding where this process was started as one; TestMain calls it.
func PlayLinkding() bool {
	path := os.Getenv("LINKDING_TEST_DATABASE")
	if path == "" {
		return false
	}
	if err := play(path, os.Getenv("LINKDING_TEST_ROLE")); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	return true
}

// play does what a role does to a database until nobody listens any more, and prints the number of bookmarks after
// every commit.
func play(path, role string) error {
	go func() { // ends with the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	open := func() (*sql.DB, error) {
		db, err := sql.Open("sqlite", dsn(path, "mode=rw&_pragma=synchronous(OFF)&_pragma=wal_autocheckpoint(20)"))
		if err == nil {
			db.SetMaxOpenConns(1)
		}
		return db, err
	}
	db, err := open()
	if err != nil {
		return err
	}
	do := func(statements ...string) {
		for _, statement := range statements {
			if err == nil {
				_, err = db.Exec(statement)
			}
		}
	}
	add := func(n int) int {
		do("BEGIN IMMEDIATE")
		do(addBookmarks(n)...)
		do("COMMIT")
		var total int
		if err == nil {
			err = db.QueryRow("SELECT count(*) FROM bookmarks_bookmark").Scan(&total)
		}
		return total
	}
	switch role {
	case "idle": // connected, with 20 bookmarks in the -wal only
		do("PRAGMA wal_autocheckpoint=0")
		fmt.Println(add(20))
		<-make(chan struct{})
	case "exclusive":
		do("BEGIN EXCLUSIVE", "UPDATE auth_user SET last_name = 'x'")
		fmt.Println(0)
		<-make(chan struct{})
	case "spill": // a transaction that has begun to write into the file itself
		do("PRAGMA cache_size=1", "PRAGMA cache_spill=1", "BEGIN", "UPDATE bookmarks_bookmark SET description = hex(randomblob(200))", "DELETE FROM bookmarks_bookmark_tags")
		fmt.Println(0)
		<-make(chan struct{})
	}
	for range time.Tick(4 * time.Millisecond) {
		fmt.Println(add(3))
		if err != nil {
			break
		}
		if role == "requests" { // as Django does without persistent connections
			err = db.Close()
			if err == nil {
				db, err = open()
			}
		}
	}
	return err
}

// linkding is the second process.
type linkding struct {
	command *osexec.Cmd
	stdin   io.Closer
	total   atomic.Int64 // bookmarks that it has committed
	failed  atomic.Pointer[string]
	// progress gets something now and then when total has grown.
	progress chan struct{}
	done     chan struct{}
}

// start starts a role and waits until it has done something.
func start(t *testing.T, data, role string) *linkding {
	t.Helper()
	l := &linkding{command: osexec.Command(os.Args[0]), progress: make(chan struct{}, 1), done: make(chan struct{})}
	l.command.Env = append(os.Environ(), "LINKDING_TEST_DATABASE="+filepath.Join(data, database), "LINKDING_TEST_ROLE="+role)
	stdin, err := l.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := l.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stdin = stdin
	if err := l.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kill)
	ready := make(chan struct{})
	go func() {
		defer close(l.done)
		first := true
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if total, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
				l.total.Store(total)
				select {
				case l.progress <- struct{}{}:
				default:
				}
			} else {
				text := lines.Text()
				l.failed.Store(&text)
			}
			if first {
				first = false
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
	case <-l.done:
	}
	if failed := l.failed.Load(); failed != nil {
		t.Fatal(*failed)
	}
	return l
}

// kill ends it in the middle of what it does.
func (l *linkding) kill() {
	_ = l.command.Process.Kill()
	<-l.done
	_ = l.command.Wait()
}

// TestWhileLinkdingWrites makes snapshots while another process writes, checkpoints, and connects anew.
func TestWhileLinkdingWrites(t *testing.T) {
	for _, role := range []string{"connected", "requests", "rollback"} {
		t.Run(role, func(t *testing.T) {
			mode := "wal"
			if role == "rollback" {
				mode = "delete"
			}
			data := newLibrary(t, "schema.sql", "0054_last", mode)
			l := start(t, data, role)
			for range 3 {
				before := int(l.total.Load())
				sink, _ := must(t, data)
				got := count(t, sink.documents[database])
				for int(l.total.Load()) <= max(before, got) { // it writes on
					select {
					case <-l.progress:
					case <-l.done:
						t.Fatalf("the writer has ended: %s", *l.failed.Load())
					}
				}
				if got < before || got > int(l.total.Load()) {
					t.Errorf("%d bookmarks, of %d before and %d after", got, before, l.total.Load())
				}
			}
			l.kill()
			check := unchanged(t, data)
			sink, _ := must(t, data)
			if got := count(t, sink.documents[database]); got < int(l.total.Load()) {
				t.Errorf("%d bookmarks after its end, it had committed %d", got, l.total.Load())
			}
			check()
		})
	}
}

// TestUnchanged looks at the data folder before and after, in every state that linkding leaves it in.
func TestUnchanged(t *testing.T) {
	remove := func(suffixes ...string) func(*testing.T, string, *linkding) {
		return func(t *testing.T, data string, l *linkding) {
			l.kill()
			for _, suffix := range suffixes {
				if err := os.Remove(filepath.Join(data, database+suffix)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, test := range []struct {
		name, mode, role string
		prepare          func(*testing.T, string, *linkding)
		want             int
		beside           string // what must be there for the test to mean something
	}{
		{"running", "wal", "idle", nil, 50, "-shm"},
		{"killed", "wal", "idle", remove(), 50, "-shm"},
		{"killed, without shm", "wal", "idle", remove("-shm"), 50, "-wal"},
		{"copied without wal", "wal", "idle", remove("-wal"), 30, "-shm"},
		{"stopped", "wal", "", nil, 30, ""},
		{"old set-up", "delete", "", nil, 30, ""},
		{"killed, with a hot journal", "delete", "spill", remove(), 30, "-journal"},
		{"old set-up, running", "delete", "idle", nil, 50, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := newLibrary(t, "schema.sql", "0054_last", test.mode)
			if test.role != "" {
				l := start(t, data, test.role)
				if test.prepare != nil {
					test.prepare(t, data, l)
				}
			}
			if !exists(filepath.Join(data, database+test.beside)) {
				t.Fatalf("there is no %s", test.beside)
			}
			check := unchanged(t, data)
			first, facts := must(t, data)
			second, again := must(t, data)
			check()
			if got := count(t, first.documents[database]); got != test.want || facts.Counts["bookmarks"] != int64(test.want) {
				t.Errorf("%d bookmarks, want %d", got, test.want)
			}
			if string(first.documents[database]) != string(second.documents[database]) || facts.Digest != again.Digest {
				t.Error("the same folder gives different copies")
			}
		})
	}
}

// TestLocked waits for a program that has the database to itself, but not for ever.
func TestLocked(t *testing.T) {
	data := newLibrary(t, "schema.sql", "0054_last", "delete")
	l := start(t, data, "exclusive")
	_, _, err := snapshot(t, Options{Data: data, LockTimeout: 50 * time.Millisecond})
	refused(t, err, failure.Transient, "locked", database)

	source, err := New(Options{Data: data, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := source.Snapshot(ctx, backup.Scope{}, nil); failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v", err)
	}
	l.kill()
	must(t, data)
}

// TestSomebodyConnects connects while a database is read that nobody used: the copy begins again.
func TestSomebodyConnects(t *testing.T) {
	data := modern(t)
	source, err := New(Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	o, err := source.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer o.file.Close()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := o.copyIdle(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := lockShared(o.file); err != nil { // SQLite's end was the end of our lock
		t.Fatal(err)
	}
	l := start(t, data, "connected")
	if err := l.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.done // its end leaves -wal and -shm, because of our lock
	if err := o.copyIdle(t.Context(), copied); !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
	if err := o.copyFiles(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "copy"), "-wal"); !errors.Is(err, errChanged) {
		t.Errorf("a -shm appeared: %v", err)
	}
}

// TestStrangePath has everything in the name of the folder that a URI could take amiss.
func TestStrangePath(t *testing.T) {
	data := filepath.Join(t.TempDir(), "a?mode=rwc&b#c%41 d")
	if err := os.Rename(modern(t), data); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	start(t, data, "idle")
	for _, path := range []string{data, link} {
		sink, _ := must(t, path)
		if got := count(t, sink.documents[database]); got != 50 || !sink.secret[database] || sink.modified[database].IsZero() {
			t.Errorf("%d bookmarks", got)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(data), "*")); len(names) != 1 || strings.Contains(names[0], "-shm") {
		t.Errorf("%q", names)
	}
}
