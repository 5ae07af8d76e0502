package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/local"
	"lifeboat/internal/s3model"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// store is an S3 store with buckets for sources, vaults and targets: the modelled or the embedded one.
type store struct {
	model  *s3model.Server
	http   *http.Server
	url    string
	server *local.Server
	folder string // of the embedded server
	made   int    // buckets that got a name of their own
	paced  bool   // the modelled store has latencies
}

// The modelled store: latencies, the rate of one copy request, and the link of one worker each way.
var modelled = s3model.Options{PutLatency: 40 * time.Millisecond, GetLatency: 20 * time.Millisecond, CopyRate: 150e6, LinkRate: 75e6}

// newModel starts a modelled store in this process.
func newModel(ctx context.Context, options s3model.Options) (*store, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &store{model: s3model.New(options), paced: options.PutLatency > 0, url: "http://" + listener.Addr().String()}
	s.http = &http.Server{Handler: s.model, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(listener) }() // until Close
	return s, nil
}

// newEmbedded starts the embedded server over a temporary folder.
func newEmbedded(ctx context.Context) (*store, error) {
	folder, err := os.MkdirTemp("", "lifeboat-bench-")
	if err != nil {
		return nil, err
	}
	server, err := local.Attach(ctx, folder, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &store{server: server, folder: folder, url: server.URL()}, nil
}

// pace slows the modelled store down where workers share processors, so that each has half a processor's time of its
// own, about that of a function with 1 GB. Times are to be divided by what it returns.
func (s *store) pace(workers int) time.Duration {
	factor := 1
	if s.paced {
		factor = max(1, workers/(2*runtime.NumCPU()))
		s.model.Slow(factor)
	}
	return time.Duration(factor)
}

func (s *store) close() error {
	if s.model != nil {
		return s.http.Close()
	}
	return errors.Join(s.server.Close(), os.RemoveAll(s.folder))
}

// credentials returns the keys of a worker. On the modelled store each has its own, and with it its own link.
func (s *store) credentials(worker string) (access, key string) {
	if s.model != nil {
		return worker, "secret"
	}
	access, hidden := s.server.Credentials()
	return access, hidden.Reveal()
}

// client returns a client for who prepares and looks after; its requests count for nobody.
func (s *store) client(ctx context.Context) (*s3.Client, error) {
	access, key := s.credentials("bench")
	return vault.Connect(ctx, vault.Store{
		Endpoint: s.url, Region: "us-east-1", AccessKey: secret.New(access), SecretKey: secret.New(key), HTTP: http.DefaultClient,
	})
}

// bucket creates a new bucket and returns its name.
func (s *store) bucket(ctx context.Context, kind string) (string, error) {
	s.made++
	name := fmt.Sprintf("%s-%03d", kind, s.made)
	if s.model != nil {
		s.model.CreateBucket(name)
		return name, nil
	}
	client, err := s.client(ctx)
	if err != nil {
		return "", err
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	return name, err
}

// remove forgets a bucket of the modelled store, which takes memory.
func (s *store) remove(bucket string) {
	if s.model != nil {
		s.model.RemoveBucket(bucket)
	}
}

// fill writes files into a bucket.
func (s *store) fill(ctx context.Context, bucket string, files []file) error {
	for _, f := range files {
		if err := s.put(ctx, bucket, f); err != nil {
			return fmt.Errorf("write %s: %w", f.key, err)
		}
	}
	return nil
}

func (s *store) put(ctx context.Context, bucket string, f file) error {
	if s.model != nil {
		err := s.model.Put(bucket, f.key, f.modified, f.Derived)
		s.model.Sum(bucket, f.key) // so that no copy has to read it
		return err
	}
	client, err := s.client(ctx)
	if err != nil {
		return err
	}
	body, err := f.Reader()
	if err != nil {
		return err
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &f.key, Body: body, ContentLength: &f.Size})
	return err
}
