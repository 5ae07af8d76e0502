package setup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/failure"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// readyFolder says early what would be said late: that a folder is not empty, or may not be written. It makes the
// folder where there is none; undo takes what it made back, unless something lies in it by then.
func readyFolder(name string, existing bool) (undo func(), err error) {
	var made []string
	for dir := filepath.Clean(name); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		made = append(made, dir)
	}
	undo = func() {
		for _, dir := range made {
			if os.Remove(dir) != nil {
				return
			}
		}
	}
	folder, err := restore.OpenFolder(name, existing)
	if err == nil {
		err = folder.Close()
	}
	if err == nil {
		err = writable(name)
	}
	if err != nil {
		undo()
		return nil, inaccessible(name, err)
	}
	return undo, nil
}

// writable writes a file into a folder and removes it.
func writable(folder string) error {
	probe, err := os.CreateTemp(folder, ".lifeboat-*")
	if err != nil {
		return err
	}
	_, err = probe.WriteString("lifeboat restore\n")
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}

// inaccessible gives the error of a folder that is to be written its kind.
func inaccessible(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure.New(failure.Denied, "the folder %s may not be written", name).WithHint("name a folder that you may write to")
	case errors.Is(err, syscall.ENOTDIR):
		return failure.New(failure.Conflict, "%s is not a folder", name).WithHint("name a folder that is empty or does not exist yet")
	case errors.Is(err, fs.ErrNotExist):
		return failure.New(failure.NotFound, "the folder %s cannot be created", name).WithHint("check the path")
	}
	return err
}

// credentialTime bounds the search for credentials: off AWS, the SDK waits for a service that is not there.
const credentialTime = 20 * time.Second

// Credentialed is Denied where nothing gives credentials for a store, or a role is not to be had, whose error says why.
func Credentialed(ctx context.Context, client *s3.Client, hint string) error {
	limited, cancel := context.WithTimeout(ctx, credentialTime)
	defer cancel()
	_, err := client.Options().Credentials.Retrieve(limited)
	if refused, ok := vault.RoleFault(err); ok && ctx.Err() == nil {
		return refused
	}
	if err != nil && ctx.Err() == nil {
		return failure.New(failure.Denied, "there are no credentials for the store: neither options nor the environment nor a profile or role give any").
			WithHint("%s", hint)
	}
	return ctx.Err()
}
