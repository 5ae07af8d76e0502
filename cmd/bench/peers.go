package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"lifeboat/internal/step"
)

// command is a program that a worker runs, so that what it uses is known: a small process is its parent.
type command struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
	Env  []string `json:"env"` // beside that of the worker
	Out  string   `json:"out"` // file for its standard output; "" is nowhere
}

type commandUse struct {
	CPU  time.Duration `json:"cpu"`
	Peak int64         `json:"peak"` // bytes; at least the memory of the worker
}

func (c command) run(ctx context.Context) (used commandUse, err error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	var said tail
	cmd.Stderr = &said
	if c.Out != "" {
		file, err := os.Create(c.Out)
		if err != nil {
			return used, err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	if err := cmd.Run(); err != nil {
		return used, fmt.Errorf("%s: %w: %s", c.Args[0], err, said.text)
	}
	used.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		used.Peak = usage.Maxrss << 10 // Linux counts in KiB
	}
	return used, nil
}

// tail keeps the last words of a program.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-500):]
	return len(p), nil
}

// peer is another way to an archive of the same files in the same store.
type peer struct {
	name    string
	archive string   // its key in the bucket of the vault
	needs   []string // programs
	run     func(context.Context, *bench, *bed, string) (measured, error)
}

var peers = []peer{
	{"stream", "stream.zip", nil, streamPeer},
	{"npm-archiver", "npm.zip", []string{"node", "npm"}, npmPeer},
	{"rclone-zip", "rclone.zip", []string{"rclone", "zip"}, rclonePeer},
}

// missing returns the first program that is not installed.
func missing(programs []string) string {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return p
		}
	}
	return ""
}

// commands runs programs one after the other.
func (t *bed) commands(ctx context.Context, list ...command) (measured, error) {
	var sum commandUse
	m, err := t.timed(1, step.Policy{}, func(f *fleet) error {
		for _, c := range list {
			var used commandUse
			if err := f.do(ctx, "command", c, &used); err != nil {
				return err
			}
			sum.CPU, sum.Peak = sum.CPU+used.CPU, max(sum.Peak, used.Peak)
		}
		return nil
	})
	m.cpu, m.peak = sum.CPU, sum.Peak
	return m, err
}

func streamPeer(ctx context.Context, _ *bench, t *bed, _ string) (measured, error) {
	return t.timed(1, step.Policy{}, func(f *fleet) error { return f.do(ctx, "naive-backup", "stream.zip", new(naiveBackup)) })
}

// npmPeer installs what the lock file says, apart from the clock, and has archive.mjs make the archive.
func npmPeer(ctx context.Context, b *bench, t *bed, folder string) (measured, error) {
	for _, name := range []string{"package.json", "package-lock.json", "archive.mjs"} {
		text, err := os.ReadFile(filepath.Join(b.npm, name))
		if err != nil {
			return measured{}, err
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			return measured{}, err
		}
	}
	if _, err := t.commands(ctx, command{Args: []string{"npm", "ci", "--silent", "--no-audit", "--no-fund"}, Dir: folder}); err != nil {
		return measured{}, err
	}
	return t.commands(ctx, command{Args: []string{"node", "archive.mjs", t.data, t.vault, "npm.zip"}, Dir: folder, Env: t.environment()})
}

// environment is how programs learn of the store.
func (t *bed) environment() []string {
	access, key := t.store.credentials("peer")
	return []string{
		"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + key, "AWS_REGION=us-east-1", "AWS_ENDPOINT_URL_S3=" + t.store.url,
		"RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Other", "RCLONE_CONFIG_STORE_ENDPOINT=" + t.store.url,
		"RCLONE_CONFIG_STORE_REGION=us-east-1", "RCLONE_CONFIG_STORE_ENV_AUTH=true",
		"AWS_CA_BUNDLE=", // the server is on loopback, without TLS, and rclone trips over it
		"RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=s3:" + t.store.url + "/" + t.vault + "/restic",
	}
}

func rclonePeer(ctx context.Context, _ *bench, t *bed, folder string) (measured, error) {
	env, files := t.environment(), filepath.Join(folder, "files")
	if err := os.Mkdir(files, 0o700); err != nil {
		return measured{}, err
	}
	return t.commands(ctx,
		command{Args: []string{"rclone", "copy", "store:" + t.data, files}, Env: env},
		command{Args: []string{"zip", "-0qr", "../rclone.zip", "."}, Dir: files},
		command{Args: []string{"rclone", "copyto", filepath.Join(folder, "rclone.zip"), "store:" + t.vault + "/rclone.zip"}, Env: env},
	)
}

// resticRuns are a first backup, one of unchanged files, and the archive of the latter. The files lie on disk: their
// way there does not count.
func (t *bed) resticRuns(ctx context.Context, folder string) (first, unchanged, dump measured, err error) {
	env, files := t.environment(), filepath.Join(folder, "files")
	prepare := []command{
		{Args: []string{"rclone", "copy", "store:" + t.data, files}, Env: env},
		{Args: []string{"restic", "init"}, Env: env},
	}
	if _, err = t.commands(ctx, prepare...); err != nil {
		return
	}
	save := command{Args: []string{"restic", "backup", "--quiet", "."}, Dir: files, Env: env}
	archive := command{Args: []string{"restic", "dump", "--quiet", "--archive", "zip", "latest", "/"}, Env: env, Out: filepath.Join(folder, "restic.zip")}
	if first, err = t.commands(ctx, save); err != nil {
		return
	}
	if unchanged, err = t.commands(ctx, save); err != nil {
		return
	}
	dump, err = t.commands(ctx, archive)
	return
}

// inFolder gives a temporary folder to do something in.
func inFolder(do func(folder string) error) error {
	folder, err := os.MkdirTemp("", "lifeboat-bench-")
	if err != nil {
		return err
	}
	return errors.Join(do(folder), os.RemoveAll(folder))
}
