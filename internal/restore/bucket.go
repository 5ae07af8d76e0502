package restore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// How much a process does at once.
const (
	units   = 24 // under way, most of which wait
	windows = 4  // of windowSize, or parts of it, in memory
	puts    = 64 // requests for small objects
	copies  = 16 // parts that the store copies
)

// BucketOptions say what a bucket gets, and how.
type BucketOptions struct {
	Client  *s3.Client // whose principal writes the target and, where objects are to be copied, reads the vault
	Bucket  string
	Prefix  string // with or without "/" at its end
	Kind    string // of the source of the backup
	Layout  Layout
	Objects bool                   // leave the documents out
	Only    func(path string) bool // of an entry in the archive; nil: all
	Floor   int64                  // bytes from which on the store copies an object itself; 0: DefaultFloor
	Piece   int64                  // bytes at least of one such copy, of which several run at a time; 0: DefaultPiece
	// Progress gets what is done; bytes that the store copies count too, and are taken back where a copy is given up.
	Progress func(items, bytes int64)
}

// BucketTarget is a bucket, or a prefix of one, that is restored into. It is safe for concurrent use, and several
// processes may work on the units of one plan. What is there is never overwritten: an object with the same size and
// CRC-32 counts as restored, whatever its Content-Type.
type BucketTarget struct {
	o      BucketOptions
	names  naming
	fresh  bool // nothing had a name below the prefix
	window chan struct{}
	puts   chan struct{}
	copies chan struct{}

	mutex   sync.Mutex
	result  Result
	streams string // why the store copies nothing; "" where it does
	source  Bytes
}

// OpenBucket looks at the bucket: NotFound when there is none. Whether it may be written is seen at the first write.
func OpenBucket(ctx context.Context, o BucketOptions) (*BucketTarget, error) {
	if o.Floor == 0 {
		o.Floor = DefaultFloor
	}
	o.Piece = max(cmp.Or(o.Piece, DefaultPiece), vault.MinPart)
	if o.Layout == "" {
		o.Layout = ByPath
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Prefix != "" && !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	t := &BucketTarget{
		o: o, window: make(chan struct{}, windows), puts: make(chan struct{}, puts), copies: make(chan struct{}, copies),
		names: naming{o.Kind, o.Prefix, o.Layout, o.Objects, o.Only, o.Client.Options().BaseEndpoint == nil},
	}
	list, err := o.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &o.Bucket, Prefix: &o.Prefix, MaxKeys: new(int32(1))})
	err = t.fault(err, "look into %s", t)
	if err != nil && failure.KindOf(err) != failure.Denied { // it may be allowed to write all the same
		return nil, err
	}
	t.fresh = err == nil && len(list.Contents) == 0
	return t, nil
}

// String names the target.
func (t *BucketTarget) String() string {
	return strings.TrimSuffix("s3://"+t.o.Bucket+"/"+t.o.Prefix, "/")
}

// From says where the bytes come from; before Plan and Do.
func (t *BucketTarget) From(source Bytes) {
	t.source = source
	switch {
	case source.Vault == nil:
		t.streams = "the bytes come from a file"
	case !source.Vault.SameStore(aws.ToString(t.o.Client.Options().BaseEndpoint)):
		t.streams = "the vault lies in another store"
	case source.Vault.EqualParts():
		t.streams = "the store cannot join what it copies"
	}
}

// Plan divides the entries of the backup into units.
func (t *BucketTarget) Plan(entries iter.Seq2[manifest.Entry, error]) iter.Seq2[Unit, error] {
	return PlanBucket(entries, Plan{
		Fresh: t.fresh, Floor: t.o.Floor, Copy: t.streaming() == "", Locate: t.source.Locate, Name: t.names.key, Found: t.problem,
	})
}

// Wants reports whether an entry is to be restored here, so far as its name allows it.
func (t *BucketTarget) Wants(e manifest.Entry) bool { return t.names.wants(e) }

// Restore does every unit. Trouble with one object is a problem of the result; trouble with the store ends it, and the
// same restore again goes on with what is missing.
func (t *BucketTarget) Restore(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan Unit)
	var group sync.WaitGroup
	for range units {
		group.Go(func() {
			for u := range work {
				if ctx.Err() != nil {
					continue
				}
				if err := t.Do(ctx, u); err != nil {
					cancel(err)
				}
			}
		})
	}
	for u, err := range t.Plan(entries) {
		if err != nil {
			cancel(err)
		}
		if ctx.Err() != nil {
			break
		}
		work <- u
	}
	close(work)
	group.Wait()
	return t.Result(), context.Cause(ctx)
}

// Do does one unit. An error concerns more than its objects.
func (t *BucketTarget) Do(ctx context.Context, u Unit) error {
	if u.Large {
		return t.large(ctx, u)
	}
	return t.small(ctx, u)
}

// Result returns what was done so far.
func (t *BucketTarget) Result() Result {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	r := t.result
	r.Streams = t.streams
	r.Problems = append([]app.Finding(nil), r.Problems...)
	return r
}

// streaming says why the store copies nothing; "" where it does.
func (t *BucketTarget) streaming() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.streams
}

func (t *BucketTarget) stream(why string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.streams == "" {
		t.streams = why
	}
}

func notWritten(item, format string, args ...any) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "not written", Item: item, Message: fmt.Sprintf(format, args...)}
}

func corrupt(item, message string) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "corrupt", Item: item, Message: message}
}

func (t *BucketTarget) problem(f app.Finding) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.result.Total++
	if len(t.result.Problems) < verify.MaxProblems {
		t.result.Problems = append(t.result.Problems, f)
	}
}

// outcome is what became of one object.
type outcome int

const (
	wrote   outcome = iota
	spliced         // by the store itself
	existed
)

// done counts an object.
func (t *BucketTarget) done(i Item, o outcome) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch o {
	case existed:
		t.result.Existing++
		return
	case spliced:
		t.result.Spliced++
		t.result.SplicedBytes += i.Entry.Size
	}
	t.result.Written++
	t.result.Bytes += i.Entry.Size
}

// trouble makes a problem of what concerns one object, and returns what concerns all of them.
func (t *BucketTarget) trouble(i Item, err error) error {
	switch failure.KindOf(err) {
	case failure.Canceled, failure.Transient, failure.Denied, failure.Exhausted, failure.NotFound:
		return err
	case failure.Corrupt:
		t.problem(corrupt(i.Entry.Path, err.Error()))
	default:
		t.problem(notWritten(i.Entry.Path, "was not written: %v", err))
	}
	return nil
}

// fault gives an error of the target's store its kind, and the hint that fits a target.
func (t *BucketTarget) fault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	err = vault.Fault(err, format, args...)
	kind := failure.KindOf(err)
	switch kind {
	case failure.NotFound:
		return failure.New(kind, "there is no bucket %s: %w", t.o.Bucket, err).WithHint("create the bucket, or correct --to and --endpoint")
	case failure.Denied:
		return failure.New(kind, "%s may not be written with these credentials: %w", t, err).
			WithHint("they need s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on its objects, and s3:ListBucket on the bucket")
	case failure.Exhausted:
		return failure.New(kind, "%w", err).WithHint("free some space there, then run the same command again: it goes on with what is missing")
	case failure.Transient:
		return failure.New(kind, "%w", err).WithHint("check that the store can be reached, then run the same command again: it goes on with what is missing")
	}
	return err
}

// acquire takes one of a limited number of places; false when nobody waits any more.
func acquire(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// cleanUpTime bounds what is done after a cancellation.
const cleanUpTime = 10 * time.Second
