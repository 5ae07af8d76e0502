// Command lambdas builds the functions and writes <out>/<function>.zip for Lambda: provided.al2023 on arm64, one file
// `bootstrap`. The same source gives the same bytes, so that a deployment changes only what has changed.
package main

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"lifeboat/internal/lambdafn/deployed"
)

func main() {
	out := flag.String("out", "dist", "the folder for the zips")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out); err != nil {
		fmt.Fprintln(os.Stderr, "lambdas: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string) error {
	folder, err := os.MkdirTemp("", "lifeboat-lambdas-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := build(ctx, folder); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, f := range deployed.Functions {
		path := filepath.Join(out, f.Name+".zip")
		size, err := pack(filepath.Join(folder, f.Name), path)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Printf("%s\t%.1f MB\n", path, float64(size)/1e6)
	}
	return nil
}

// build builds all functions for Lambda. Nothing of this machine gets into them.
func build(ctx context.Context, folder string) error {
	command := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=",
		"-o", folder+string(filepath.Separator), "./functions/...")
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=", "GOARM64=v8.0")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("build the functions: %w", err)
	}
	return nil
}

// pack writes a zip with the program as its only file, and returns its size in bytes.
func pack(program, path string) (size int64, err error) {
	from, err := os.Open(program)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	w := zip.NewWriter(to)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o755)
	entry, err := w.CreateHeader(header)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(entry, from); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	info, err := to.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
