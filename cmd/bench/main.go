// Command bench measures lifeboat against its goals and against peers. It prints lines `bench: <name> <value> <unit>`
// and, at the end, a table of goals: what was measured, and whether it is reached. A goal that is missed is said so and
// is no error; the exit code is 1 only where something breaks.
//
//	bench          counts and times on a modelled store (internal/s3model), in about five minutes
//	bench -full    the embedded server as well, and peers: npm archiver, rclone with zip, restic
//	bench -only i,iv   some of them by name
//
// What is measured is the pipeline itself: the workflow's definition, the steps, files in a bucket as the source. The
// steps run in worker processes (`bench worker`), each of which stands for one function: it has an access key of its
// own, hence a link of its own on the modelled store, and its bytes, CPU time and peak memory are counted. Sizes,
// contents and changes follow from fixed seeds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"lifeboat/internal/local"
)

func main() {
	if local.ChildMain() { // this process is the embedded S3 server
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "worker" {
		return work(ctx, os.Stdin, os.Stdout)
	}
	debug.SetGCPercent(25) // the modelled store holds gigabytes
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	everything := flags.Bool("full", false, "the embedded server and peers, too: takes half an hour and 40 GB of disk")
	only := flags.String("only", "", "the names of what to measure, separated by commas")
	npm := flags.String("npm", "cmd/bench/npm", "the folder with archive.js")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{out: os.Stdout, npm: *npm}
	experiments := quick
	if *everything {
		if err := b.room(); err != nil {
			return err
		}
		experiments = slices.Concat(quick, full)
	}
	b.machine()
	began := time.Now()
	for _, e := range experiments {
		if !chosen(e.name, *only) {
			continue
		}
		fmt.Fprintf(b.out, "\n%s: %s\n", e.name, e.about)
		if err := e.measure(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	b.table()
	b.say("all of it took %s", time.Since(began).Round(time.Second))
	return nil
}

// experiment is one thing that is measured by itself.
type experiment struct {
	name    string
	about   string
	measure func(context.Context, *bench) error
}

func chosen(name, only string) bool {
	return only == "" || slices.Contains(strings.Split(only, ","), name)
}
