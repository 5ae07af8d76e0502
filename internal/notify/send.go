package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lifeboat/internal/failure"
)

// Sender carries one mail. When Send returns without an error the mail is where it belongs for good: accepted by a
// server, or a file on disk. It is safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, m *Mail) (Receipt, error)
}

// Receipt says what became of a mail.
type Receipt struct {
	Status Status
	Detail string // the path of a written mail
}

// Status is what became of a mail, as records have it.
type Status string

// The statuses.
const (
	Sent    Status = "sent"
	Written Status = "written" // to a file
	Failed  Status = "failed"
	Quiet   Status = "quiet" // the policy says that nobody wants to know
)

// Folder is a Sender that writes <run>-<message>.eml files, readable by their owner only: a mail holds a link. The
// files of a message's further recipients end in -2.eml, -3.eml, … A mail that is sent again replaces its file.
type Folder struct {
	Dir string // created when it is missing
}

// Send implements Sender; the receipt's detail is the file's path.
func (f Folder) Send(_ context.Context, m *Mail) (Receipt, error) {
	name := fmt.Sprintf("%s-%s.eml", m.Run, m.Name)
	if m.Copy > 0 {
		name = fmt.Sprintf("%s-%s-%d.eml", m.Run, m.Name, m.Copy+1)
	}
	err := f.write(name, m)
	if errors.Is(err, fs.ErrPermission) {
		err = failure.New(failure.Denied, "%w", err)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("write mail %s: %w", name, err)
	}
	return Receipt{Written, filepath.Join(f.Dir, name)}, nil
}

func (f Folder) write(name string, m *Mail) (err error) {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	temporary := "." + name + "." + rand.Text()
	file, err := root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	return nil
}
