package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"lifeboat/internal/failure"
)

// protocol is the version of the agreement between processes that share a server: the files in server/, the greeting,
// and what the server promises. Processes of different protocols don't share.
const protocol = 1

// layout is the absolute path of a vault folder; its methods name what lies in it.
type layout string

func (v layout) buckets() string         { return filepath.Join(string(v), "buckets") }
func (v layout) versions() string        { return filepath.Join(string(v), "versions") }
func (v layout) meta() string            { return filepath.Join(string(v), "meta") }
func (v layout) server() string          { return filepath.Join(string(v), "server") }
func (v layout) credentialsFile() string { return filepath.Join(v.server(), "credentials.json") }
func (v layout) addressFile() string     { return filepath.Join(v.server(), "address.json") }
func (v layout) lockFile() string        { return filepath.Join(v.server(), "lock") }
func (v layout) logFile() string         { return filepath.Join(v.server(), "log") }

// newLayout makes the folders that every server needs.
func newLayout(folder string) (layout, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", vaultError(err)
	}
	path, err := filepath.EvalSymlinks(folder)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", vaultError(err)
	}
	v := layout(path)
	for _, dir := range []string{v.buckets(), v.versions(), v.server()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", vaultError(err)
		}
	}
	return v, nil
}

func vaultError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.New(failure.Denied, "prepare the vault folder: %w", err).
			WithHint("give the user that runs lifeboat the right to read and write the folder, or run lifeboat as its owner")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure.New(failure.Exhausted, "prepare the vault folder: %w", err).
			WithHint("free some space on the disk of the vault")
	}
	return fmt.Errorf("prepare the vault folder: %w", err)
}

// address is where a server listens or listened last; the port is asked for again at the next start.
type address struct {
	URL      string `json:"url"`
	PID      int    `json:"pid"`
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of lifeboat, for people
}

// host returns 127.0.0.1:PORT, and an error for anything that is not on this machine.
func (a address) host() (string, error) {
	u, err := url.Parse(a.URL)
	if err != nil {
		return "", fmt.Errorf("address of the S3 server: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() != loopback || u.Port() == "" {
		return "", fmt.Errorf("address of the S3 server: %q is not on %s", a.URL, loopback)
	}
	return u.Host, nil
}

func (v layout) readAddress() (address, error) {
	var a address
	return a, readJSON(v.addressFile(), &a)
}

// writeAddress also works on a full disk, or nobody could start the server that deletes things: an address of about
// the same length is then written over the old one. A reader that sees half of it takes it for no server.
func (v layout) writeAddress(a address) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the address: %w", err)
	}
	err = writeFile(v.addressFile(), data)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		if overwrite(v.addressFile(), data) == nil {
			return nil
		}
	}
	return err
}

// credentials are the key pair of a vault.
type credentials struct {
	Access string `json:"access"`
	Secret string `json:"secret"`
}

func (v layout) readCredentials() (credentials, error) {
	var c credentials
	err := readJSON(v.credentialsFile(), &c)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return c, err
	}
	if err != nil || c.Access == "" || c.Secret == "" {
		return c, failure.New(failure.Corrupt, "%s holds no credentials", v.credentialsFile()).
			WithHint("restore it from a copy, or delete it: the next start makes new ones, old presigned links then end")
	}
	return c, nil
}

// ensureCredentials returns the credentials and makes them first where there are none. The caller holds the lock.
func (v layout) ensureCredentials() (credentials, error) {
	c, err := v.readCredentials()
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c = credentials{Access: "LB" + rand.Text()[:18], Secret: rand.Text() + rand.Text()}
	data, err := json.Marshal(c)
	if err != nil {
		return c, fmt.Errorf("encode the credentials: %w", err)
	}
	return c, writeFile(v.credentialsFile(), data)
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// writeFile puts data (0600) at path: whole and on the disk, or not at all.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(dir)
}

func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	return errors.Join(err, f.Close())
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Exists reports whether a folder is a vault's already: Attach makes one of any other. What cannot be looked at counts as
// there; Attach says why.
func Exists(folder string) bool {
	_, err := os.Stat(layout(folder).buckets())
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}
