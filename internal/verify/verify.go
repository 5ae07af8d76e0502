package verify

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"iter"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Report is what a verification found. It is OK when every byte matched and the signature, where there is one,
// verifies; whether the signer is trusted is for the caller to weigh.
type Report struct {
	OK        bool
	Signature manifest.Authenticity // empty when it does not verify
	Header    manifest.Header
	Entries   int
	Bytes     int64         // of contents
	Problems  []app.Finding // the first MaxProblems
	Total     int           // of all problems
	OfArchive int           // how many of them concern the archive in the vault, not the packs

	tell func(app.Finding)
	data int64 // bytes that the entries take in the archive
}

// MaxProblems is how many problems a report keeps: a hostile file has as many as it likes.
const MaxProblems = 10_000

func (r *Report) found(f app.Finding) {
	r.Total++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, f)
	}
	if r.tell != nil {
		r.tell(f)
	}
}

// broken notes what concerns the whole image. What says nothing of its bytes, trouble with the store or with this machine, is
// an error instead.
func (r *Report) broken(item string, err error) error {
	if !failure.Damage(err) {
		return err
	}
	r.found(app.Finding{Severity: app.Problem, Kind: "corrupt", Item: item, Message: err.Error()})
	return nil
}

// Options of a verification.
type Options struct {
	Trusted  []ed25519.PublicKey
	Visit    archive.Visit            // gets every content while it is checked; may be nil
	Found    func(app.Finding)        // gets every problem, before the next entry is visited; may be nil
	Progress func(items, bytes int64) // may be nil
	// State is where an earlier verification of the same bytes has ended, and is moved on. What is behind it is not read
	// again, but for lists, seals and central directories: Visit, Found and Progress get what is left. After an error another
	// verification can go on with it. nil: the beginning.
	State *State
}

// State is how far a verification is; it is JSON. It means something for the very bytes that were verified only: whoever
// keeps it keeps what tells them from others, too.
type State struct {
	Parts []Part `json:"parts,omitempty"` // one for each volume that was begun; one alone where there are no volumes
}

// Part is how far the verification of one archive is, and what was wrong with its contents.
type Part struct {
	archive.Position
	Problems []app.Finding `json:"problems,omitempty"` // the first MaxProblems
	Total    int           `json:"total,omitzero"`
}

// Done returns how many entries and bytes of contents were read.
func (s *State) Done() (entries, bytes int64) {
	for _, p := range s.Parts {
		entries, bytes = entries+int64(p.Entries), bytes+p.Bytes
		if p.Begun != nil {
			bytes += p.Begun.Read
		}
	}
	return entries, bytes
}

func (s *State) part(i int) *Part {
	for len(s.Parts) <= i {
		s.Parts = append(s.Parts, Part{})
	}
	return &s.Parts[i]
}

// centralDirectory names the end of an archive in problems.
const centralDirectory = "central directory"

// Whole reads every byte of an image and checks it.
func Whole(ctx context.Context, image Image, o Options) (Report, error) {
	if o.State == nil {
		o.State = &State{}
	}
	if split, ok := image.(*volumes); ok {
		return split.whole(ctx, o)
	}
	return whole(ctx, image, o, o.State.part(0))
}

// whole verifies one archive, from where its part is.
func whole(ctx context.Context, image Image, o Options, part *Part) (Report, error) {
	report := Report{tell: o.Found, Problems: slices.Clone(part.Problems), Total: part.Total}
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return report, report.broken(manifest.PathInArchive, err)
	}
	defer body.Close()
	report.Header = m.Header
	entries := atMost(image.Seal().Manifest.Entries, m.Entries())
	err = archive.WalkFrom(ctx, image.Data, entries, o.visit, report.found, &part.Position)
	part.Problems, part.Total = slices.Clone(report.Problems), report.Total
	report.Entries, report.Bytes, report.data = part.Entries, part.Bytes, part.Data
	if err != nil {
		return report, report.broken(manifest.PathInArchive, err)
	}
	if err := seal(image, m, report.Entries, &report, o.Trusted); err != nil {
		return report, err
	}
	if f, ok := image.(fileImage); ok {
		if err := checkTail(ctx, f, &report); err != nil {
			return report, err
		}
	}
	if m.Header.Volume != nil {
		report.volume(*m.Header.Volume)
	}
	report.OK = report.Total == 0
	return report, nil
}

func (o Options) visit(e manifest.Entry, content io.Reader) error {
	if o.Progress != nil {
		content = io.TeeReader(content, ticker(o.Progress))
		defer o.Progress(1, 0)
	}
	if o.Visit != nil {
		return o.Visit(e, content)
	}
	_, _ = io.Copy(io.Discard, content) // the walk says what is wrong with a content that cannot be read
	return nil
}

// atMost ends a list that is longer than the seal says, before it fills the memory with problems.
func atMost(n int, entries iter.Seq2[manifest.Entry, error]) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		seen := 0
		for e, err := range entries {
			if seen++; seen > n && err == nil {
				yield(e, failure.New(failure.Corrupt, "the manifest lists more than the %d entries that were signed", n))
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

type ticker func(items, bytes int64)

func (t ticker) Write(p []byte) (int, error) {
	t(0, int64(len(p)))
	return len(p), nil
}

func seal(image Image, m *manifest.Reader, entries int, report *Report, trusted []ed25519.PublicKey) error {
	signature, err := image.Seal().Check(m, entries, trusted...)
	if err != nil {
		return report.broken(archive.SealPath, err)
	}
	report.Signature = signature
	return nil
}

func checkTail(ctx context.Context, f fileImage, report *Report) error {
	m, body, err := f.Manifest(ctx)
	if err != nil {
		return report.broken(manifest.PathInArchive, err)
	}
	defer body.Close()
	if err := f.CheckTail(ctx, m, m.Entries()); err != nil {
		return report.broken(centralDirectory, err)
	}
	return nil
}

// Backup re-reads a backup in the vault: the packs behind it, and its archive where there is one. Both must be of the
// manifest that the record names. The counts are those of the packs.
func Backup(ctx context.Context, v *vault.Vault, record catalog.Record, o Options) (Report, error) {
	packs, err := OpenPacks(ctx, v, record.Source, record.ID)
	if err != nil {
		report := Report{tell: o.Found}
		return report, report.broken(string(record.ID), err)
	}
	report, err := Whole(ctx, packs, o)
	if err != nil {
		return report, err
	}
	report.named(packs, record, "manifest")
	report.OK = false // until its archive is read, too
	if record.Archive.Key != "" {
		ofPacks := report.Total
		if err := archiveToo(ctx, v, record, packs, o, &report); err != nil {
			return report, err
		}
		report.OfArchive = report.Total - ofPacks
	}
	report.OK = report.Total == 0
	return report, nil
}

// named finds an image that is whole, but of another manifest than the record names.
func (r *Report) named(image Image, record catalog.Record, item string) {
	if got := image.Seal().Manifest.SHA256; got != record.Manifest.SHA256 {
		r.found(app.Finding{
			Severity: app.Problem, Kind: "corrupt", Item: item,
			Message: fmt.Sprintf("the record names a manifest with the SHA-256 %s, the vault has %s", record.Manifest.SHA256, got),
		})
	}
}

func archiveToo(ctx context.Context, v *vault.Vault, record catalog.Record, packs Image, o Options, report *Report) error {
	image, err := OpenRecorded(ctx, v, record)
	if err != nil {
		return report.broken("archive", err)
	}
	second, err := Whole(ctx, image, Options{Trusted: o.Trusted, Progress: o.Progress})
	if err != nil {
		return err
	}
	for _, f := range second.Problems {
		f.Item = "archive: " + f.Item
		report.found(f)
	}
	report.Total += second.Total - len(second.Problems)
	if split, ok := image.(*volumes); ok {
		return split.sameAs(ctx, packs, second, report)
	}
	report.named(image, record, "archive")
	return nil
}

// Find returns the entry of a path.
func Find(ctx context.Context, image Image, path string) (manifest.Entry, error) {
	for e, err := range Entries(ctx, image) {
		if err != nil {
			return e, err
		}
		if e.Path == path {
			return e, nil
		}
	}
	return manifest.Entry{}, failure.New(failure.NotFound, "the backup has no %q", path).
		WithHint("`lifeboat files BACKUP` lists the paths")
}

// Entries yields the entries of an image without reading their data.
func Entries(ctx context.Context, image Image) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		m, body, err := image.Manifest(ctx)
		if err != nil {
			yield(manifest.Entry{}, err)
			return
		}
		defer body.Close()
		for e, err := range m.Entries() {
			if !yield(e, err) {
				return
			}
		}
	}
}

// Get writes the content of one entry of a backup to w, by one ranged read of its pack. What does not match the
// manifest is Corrupt; by then w may have got bytes.
func Get(ctx context.Context, v *vault.Vault, record catalog.Record, path string, w io.Writer) (manifest.Entry, error) {
	image, err := openPacks(ctx, v, record.Source, record.ID)
	if err != nil {
		return manifest.Entry{}, err
	}
	e, err := Find(ctx, image, path)
	if err != nil {
		return e, err
	}
	place := e.Body()
	spot, ok := image.pool.Find(place.Pack)
	if !ok {
		return e, failure.New(failure.NotFound, "the pack %s is gone from the pool", place.Pack)
	}
	body, _, err := v.Open(ctx, spot.Key, spot.Offset+place.Offset, e.StoredSize())
	if err != nil {
		return e, err
	}
	defer body.Close()
	problem, err := archive.Content(e, body, func(_ manifest.Entry, content io.Reader) error {
		_, err := io.Copy(w, content)
		return err
	})
	if err == nil && problem != "" {
		err = failure.New(failure.Corrupt, "%s %s", path, problem).WithHint("`lifeboat verify %s` checks all of the backup", record.ID)
	}
	return e, err
}
