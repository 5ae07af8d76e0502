package setup

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"lifeboat/internal/app/zipline"
	"lifeboat/internal/config"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// Prober returns what asks the application of a target, with the permission that a restore needs, whether it would take
// one; nil where there is none to ask. The error says why it could not even be opened.
func (t *Targets) Prober(c config.Target) (func(context.Context) (string, error), error) {
	if c.Kind != "zipline" {
		return nil, nil
	}
	token, err := c.Token.Resolve()
	if err != nil {
		return nil, err
	}
	options := t.Zipline
	options.URL, options.Token = c.URL, token
	target, err := zipline.NewTarget(options)
	if err != nil {
		return nil, err
	}
	return target.Probe, nil
}

// LookAt looks at the place where the files of a target go: a folder that must be there and take a file, which is removed
// again, or a bucket, which must list. A folder that a restore would make by itself is no error but a hint.
func LookAt(ctx context.Context, c config.Target) (message, hint string, err error) {
	there, err := targetDatasource(ctx, c.Name, c.Datasource)
	if err != nil {
		return "", "", err
	}
	err = lists(ctx, there)
	folder := c.Datasource.Folder
	switch {
	case err != nil && folder != "" && c.Kind != "zipline" && failure.KindOf(err) == failure.NotFound:
		undo, err := readyFolder(folder, true)
		if err != nil {
			return "", "", err
		}
		undo()
		return there.Describe() + " does not exist: a restore makes it", "is it the right path, and is the volume mounted?", nil
	case err != nil:
		return "", "", err
	case folder == "":
		return there.Describe() + " lists", "", nil
	}
	err = writable(folder)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return "", "", failure.New(failure.Denied, "the target's datasource folder %s may not be written", folder).
			WithHint("give the user that runs lifeboat the right to write there, or correct the path in the target's settings")
	}
	return there.Describe() + " can be written", "", err
}

// lists lists until the first object.
func lists(ctx context.Context, d datasource.Datasource) error {
	for _, err := range d.List(ctx) {
		if _, skipped := errors.AsType[*datasource.Skipped](err); skipped {
			continue
		}
		return err
	}
	return nil
}
