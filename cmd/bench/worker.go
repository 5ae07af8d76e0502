package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/datasource"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local"
	"lifeboat/internal/s3model"
	"lifeboat/internal/secret"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// source is what the benchmarks back up.
const source backup.Source = "bench"

// workerConfig is the first line that a worker reads.
type workerConfig struct {
	Name      string      `json:"name"`
	Endpoint  string      `json:"endpoint"`
	AccessKey string      `json:"access_key"`
	SecretKey string      `json:"secret_key"`
	Folder    string      `json:"folder,omitzero"` // of the embedded server; "" is the modelled store
	Data      string      `json:"data"`            // bucket of the files
	Vault     string      `json:"vault"`           // bucket
	Policy    step.Policy `json:"policy"`
	Key       []byte      `json:"key"` // that signs, as keyring.Encode has it
}

// worker is one process that does what functions do.
type worker struct {
	workerConfig
	client  *s3.Client
	vault   *vault.Vault
	source  app.Source
	key     keyring.Key
	steps   *step.Steps
	counted *counted
}

// work answers orders, one a line, until its input ends.
func work(ctx context.Context, in io.Reader, out io.Writer) error {
	debug.SetMemoryLimit(200 << 20) // as cmd/lifeboat does
	if name := os.Getenv("BENCH_PROFILE"); name != "" {
		f, err := os.Create(fmt.Sprintf("%s.%d", name, os.Getpid()))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	decoder, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	w := &worker{counted: &counted{}}
	if err := decoder.Decode(&w.workerConfig); err != nil {
		return err
	}
	done, err := w.open(ctx)
	if err != nil {
		return err
	}
	if err := answers.Encode(reply{}); err != nil {
		return errors.Join(err, done())
	}
	var mutex sync.Mutex // of the answers
	var under sync.WaitGroup
	for {
		var o order
		if err := decoder.Decode(&o); err != nil {
			under.Wait()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, done())
		}
		under.Go(func() {
			r, err := reply{ID: o.ID}, error(nil)
			if r.Answer, err = w.handle(ctx, o); err != nil {
				boundary := step.Boundary{Err: err}
				r.Error, r.Name = boundary.Error(), boundary.ErrorName()
			}
			r.Counters, r.Peak = w.counted.total(), peak()
			mutex.Lock()
			defer mutex.Unlock()
			_ = answers.Encode(r) // who asked has ended, or reads
		})
	}
}

func (w *worker) open(ctx context.Context) (done func() error, err error) {
	done = func() error { return nil }
	w.counted.next = &http.Transport{MaxIdleConnsPerHost: 64}
	var sync func(context.Context) error
	if w.Folder != "" {
		server, err := local.Attach(ctx, w.Folder, nil)
		if err != nil {
			return done, err
		}
		w.counted.next, sync, done = server.HTTPClient().Transport, server.Sync, server.Close
	}
	w.client, err = vault.Connect(ctx, vault.Store{
		Endpoint: w.Endpoint, Region: "us-east-1", AccessKey: secret.New(w.AccessKey), SecretKey: secret.New(w.SecretKey), HTTP: &http.Client{Transport: w.counted},
	})
	if err != nil {
		return done, err
	}
	w.vault = vault.New(w.client, w.Vault, sync)
	if w.key, err = keyring.Parse(w.Key); err != nil {
		return done, err
	}
	if w.source, err = files.New(files.Options{Bucket: datasource.NewBucket(w.client, w.Data, "")}); err != nil {
		return done, err
	}
	w.steps = &step.Steps{
		Vault: w.vault, Sources: w, Signer: w.key.Private, Notifier: quiet{}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Version: "bench", Holder: "bench",
	}
	return done, nil
}

func (w *worker) handle(ctx context.Context, o order) (json.RawMessage, error) {
	switch o.Function {
	case "naive-backup":
		return answer(o.Payload, func(key string) (naiveBackup, error) { return w.naiveBackup(ctx, key) })
	case "naive-restore":
		return answer(o.Payload, func(r naiveRequest) (struct{}, error) { return struct{}{}, w.naiveRestore(ctx, r) })
	case "restore-plan":
		return answer(o.Payload, func(r restoreRequest) (restorePlan, error) { return w.restorePlan(ctx, r) })
	case "command":
		return answer(o.Payload, func(c command) (commandUse, error) { return c.run(ctx) })
	case "restore-units":
		return answer(o.Payload, func(r restoreRequest) (restored, error) { return w.restoreUnits(ctx, r) })
	}
	return w.steps.Handle(ctx, o.Function, o.Payload)
}

func answer[Q, A any](payload json.RawMessage, do func(Q) (A, error)) (json.RawMessage, error) {
	var request Q
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, err
	}
	a, err := do(request)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// Open implements step.Sources.
func (w *worker) Open(_ context.Context, name backup.Source) (app.Source, string, error) {
	if name != source {
		return nil, "", fmt.Errorf("there is no source %s", name)
	}
	return w.source, "files", nil
}

// Policy implements step.Sources.
func (w *worker) Policy(backup.Source) (step.Policy, error) { return w.workerConfig.Policy, nil }

// quiet tells nobody.
type quiet struct{}

func (quiet) Notify(context.Context, catalog.Record, *catalog.Record, backup.Status) (catalog.Notified, error) {
	return catalog.Notified{Status: "quiet"}, nil
}

// counted counts what passes: requests by class, and bytes of contents each way.
type counted struct {
	next  http.RoundTripper
	mutex sync.Mutex
	sum   s3model.Counters
}

func (c *counted) add(n s3model.Counters) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.sum = c.sum.Add(n)
}

func (c *counted) total() s3model.Counters {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.sum
}

// RoundTrip implements http.RoundTripper.
func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	class := s3model.ClassOf(r)
	n := s3model.One(class)
	if r.Method == http.MethodPut && r.ContentLength > 0 {
		n.Uploaded = r.ContentLength
	}
	c.add(n)
	answer, err := c.next.RoundTrip(r)
	if err == nil && class == s3model.Get {
		answer.Body = &countedBody{answer.Body, c}
	}
	return answer, err
}

type countedBody struct {
	io.ReadCloser
	counted *counted
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.counted.add(s3model.Counters{Downloaded: int64(n)})
	return n, err
}

// peak returns the most memory that this process has had, in bytes. Linux says it of the process since it was
// executed; what wait(2) says elsewhere includes the memory of its parent at that time.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var kilobytes int64
		if _, err := fmt.Sscan(rest, &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss
}
