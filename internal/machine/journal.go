package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/internal/failure"
)

// journalFormat is the version of the journal's format.
const journalFormat = 1

// The types of a record.
const (
	recordStarted = "started"
	recordResumed = "resumed"
	recordEntered = "entered"
	recordFailed  = "failed"
	recordChild   = "child"
	recordExited  = "exited"
	recordStopped = "stopped"
	recordEnded   = "ended"
)

// record is one line of a journal; the package comment says which fields each type has.
type record struct {
	Type       string          `json:"type"`
	Time       time.Time       `json:"time"`
	Format     int             `json:"format,omitzero"`
	Name       string          `json:"name,omitzero"`
	Machine    string          `json:"machine,omitzero"`
	Definition string          `json:"definition,omitzero"`
	State      string          `json:"state,omitzero"`
	Kind       string          `json:"kind,omitzero"`
	Mode       string          `json:"mode,omitzero"`
	Label      string          `json:"label,omitzero"`
	Function   string          `json:"function,omitzero"`
	Index      *int            `json:"index,omitempty"`
	Input      json.RawMessage `json:"input,omitempty"`
	Output     json.RawMessage `json:"output,omitempty"`
	Next       string          `json:"next,omitzero"`
	Failed     bool            `json:"failed,omitzero"`
	Error      string          `json:"error,omitzero"`
	Cause      string          `json:"cause,omitzero"`
	Again      bool            `json:"again,omitzero"`
	Wait       float64         `json:"wait,omitzero"` // seconds
	Status     Status          `json:"status,omitzero"`
	Caught     bool            `json:"caught,omitzero"`
}

// journal appends records to a file that it holds the lock of. All methods may be called on nil, which keeps
// nothing, and by several goroutines.
type journal struct {
	now  func() time.Time
	sync func() error // makes what was written durable

	mu   sync.Mutex
	file *os.File
	err  error // the first failure; nothing is written after it, so that a torn record stays the last
}

// openJournal makes or opens a journal, takes its lock and reads what it holds. Without a path it returns nil.
func openJournal(path string) (*journal, past, error) {
	if path == "" {
		return nil, past{}, nil
	}
	file, err := createOrOpen(path)
	if err != nil {
		return nil, past{}, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{now: time.Now, sync: file.Sync, file: file}
	p, err := j.take()
	if err != nil {
		j.close()
		return nil, past{}, err
	}
	return j, p, nil
}

// createOrOpen makes a file durable in its directory, or opens the one that is there.
func createOrOpen(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if errors.Is(err, os.ErrExist) {
		return os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// take locks the file, reads it and cuts off a torn last record.
func (j *journal) take() (past, error) {
	if err := lock(j.file); err != nil {
		return past{}, err
	}
	p, err := readPast(j.file)
	if err != nil {
		return past{}, err
	}
	size, err := j.file.Seek(0, io.SeekEnd)
	if err != nil {
		return past{}, fmt.Errorf("journal %s: %w", j.file.Name(), err)
	}
	if size > p.size {
		if err := errors.Join(j.file.Truncate(p.size), j.file.Sync()); err != nil {
			return past{}, fmt.Errorf("cut the torn record off journal %s: %w", j.file.Name(), err)
		}
	}
	return p, nil
}

// A probe by Held holds the lock for a moment; a run tries a few times before it believes that another run does.
const (
	lockTries = 10
	lockPause = 20 * time.Millisecond
)

func lock(file *os.File) error {
	for try := 1; ; try++ {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock journal %s: %w", file.Name(), err)
		case try == lockTries:
			return failure.New(failure.Conflict, "another process is executing the run of journal %s", file.Name())
		default:
			time.Sleep(lockPause)
		}
	}
}

// Held tells whether a live process is executing the run of a journal. A journal that isn't there is not held.
func Held(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close() // gives the lock back
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// write appends a record and returns when it is on the disk.
func (j *journal) write(r record) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	r.Time = j.now().UTC()
	line, err := encode(r)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.sync()
	}
	if err != nil {
		j.err = fmt.Errorf("write journal %s: %w", j.file.Name(), err)
	}
	return j.err
}

// entered records that a state was entered, with what the history tells about it.
func (j *journal) entered(s *state, input json.RawMessage) error {
	r := record{Type: recordEntered, State: s.name, Kind: s.kind, Function: s.task.function, Input: input}
	if s.mapping != nil {
		r.Mode, r.Label = modeInline, s.mapping.label
		if s.mapping.distributed {
			r.Mode = modeDistributed
		}
	}
	return j.write(r)
}

// ended records how a run ended, or that it was stopped.
func (j *journal) ended(o Outcome) error {
	if o.Status == Aborted {
		return j.write(record{Type: recordStopped, Status: o.Status})
	}
	return j.write(record{Type: recordEnded, State: o.State, Status: o.Status, Output: o.Output, Error: o.Error, Cause: o.Cause, Caught: o.Caught})
}

// close gives the lock back.
func (j *journal) close() {
	if j != nil {
		j.file.Close() // every record is on the disk already
	}
}
