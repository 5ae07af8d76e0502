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

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// BucketOptions say what a bucket gets, and how.
type BucketOptions struct {
	Client  *s3.Client // whose principal writes the target and, where objects are to be copied, reads the vault
	Bucket  string
	Prefix  string // with or without "/" at its end
	Role    string // that the client has assumed, so that no store copies for it; "": none
	Owner   string // the account that the client names as the bucket's; "": none
	Kind    string // of the source of the backup
	Layout  Layout
	Objects bool                   // leave the documents out
	Only    func(path string) bool // of an entry in the archive; nil: all
	// Name returns the name below the prefix, or false where an entry is left out; nil: Layout, Objects and Only decide.
	Name  func(e manifest.Entry) (name string, put bool)
	Wants func(e manifest.Entry) bool // false: it is left out, whatever Name says; nil: all
	Floor int64                       // bytes from which on the store copies an object itself; 0: DefaultFloor
	Piece int64                       // bytes at least of one such copy, of which several run at a time; 0: DefaultPiece
	// Progress gets what is done; bytes that the store copies count too, and are taken back where a copy is given up.
	Progress func(items, bytes int64)
}

// BucketTarget is a bucket, or a prefix of one, that is restored into. It is safe for concurrent use, and several
// processes may work on the units of one plan. What is there is never overwritten: an object with the same size and
// CRC-32 counts as restored, whatever its Content-Type.
type BucketTarget struct {
	*worker
	o     BucketOptions
	names naming
	fresh bool // nothing had a name below the prefix

	stop    sync.Mutex
	streams string // why the store copies nothing; "" where it does
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
		worker: &worker{places: putPlaces, progress: o.Progress}, o: o,
		names: naming{o.Kind, o.Prefix, o.Layout, o.Objects, o.Only, o.Name, o.Wants, o.Client.Options().BaseEndpoint == nil},
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
	case t.o.Role != "":
		t.streams = "the bucket is reached as " + t.o.Role + ", and a store copies only what one principal reaches on both sides"
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
func (t *BucketTarget) Wants(e manifest.Entry) bool {
	_, put := t.names.choose(e)
	return put
}

// Restore does every unit. Trouble with one object is a problem of the result; trouble with the store ends it, and the
// same restore again goes on with what is missing.
func (t *BucketTarget) Restore(ctx context.Context, entries iter.Seq2[manifest.Entry, error]) (Result, error) {
	err := t.all(ctx, t.Plan(entries), t.Do)
	return t.Result(), err
}

// Finish has nothing to do: an object is finished when it has its name.
func (t *BucketTarget) Finish(context.Context, iter.Seq2[manifest.Entry, error]) error { return nil }

// Close ends the restore.
func (t *BucketTarget) Close() error { return nil }

// Result returns what was done so far.
func (t *BucketTarget) Result() Result {
	r := t.counted()
	r.Streams = t.streaming()
	return r
}

// streaming says why the store copies nothing; "" where it does.
func (t *BucketTarget) streaming() string {
	t.stop.Lock()
	defer t.stop.Unlock()
	return t.streams
}

func (t *BucketTarget) stream(why string) {
	t.stop.Lock()
	defer t.stop.Unlock()
	if t.streams == "" {
		t.streams = why
	}
}

// fault gives an error of the target's store its kind, and the hint that fits a target.
func (t *BucketTarget) fault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if refused, ok := vault.RoleFault(err); ok { // nobody has looked at the bucket
		return fmt.Errorf(format+": %w", append(args, refused)...)
	}
	err = vault.Fault(err, format, args...)
	kind := failure.KindOf(err)
	switch kind {
	case failure.NotFound:
		return failure.New(kind, "there is no bucket %s: %w", t.o.Bucket, err).WithHint("create the bucket, or correct --to and --endpoint")
	case failure.Denied:
		return failure.New(kind, "%s may not be written with these credentials: %w", t, err).
			WithHint("they need s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on its objects, and s3:ListBucket on the bucket%s", t.o.whose())
	case failure.Exhausted:
		return failure.New(kind, "%w", err).WithHint("free some space there, then run the same command again: it goes on with what is missing")
	case failure.Transient:
		return failure.New(kind, "%w", err).WithHint("check that the store can be reached, then run the same command again: it goes on with what is missing")
	}
	return err
}

// whose is the rest of a hint about a bucket that refuses: S3 says the same of another owner.
func (o BucketOptions) whose() string {
	if o.Owner == "" {
		return ""
	}
	return "; check owner (" + o.Owner + ") too, the account that the bucket must belong to"
}

// cleanUpTime bounds what is done after a cancellation.
const cleanUpTime = 10 * time.Second
