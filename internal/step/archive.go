package step

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
)

// archiveFile says which files the archive of a backup will be: one, or the volumes of a split one; none where an
// archive is made on demand.
type archiveFile struct {
	Split    int64        `json:"split,omitzero"`
	Files    []volumeFile `json:"files"`
	Manifest manifestFile `json:"manifest"` // what it is of; not where it is made again
}

// volumeFile is one file of an archive. Its parts stand in parts-<n>.jsonl.
type volumeFile struct {
	Key   vault.Key    `json:"key"`
	Bytes int64        `json:"bytes"`
	CRC32 manifest.CRC `json:"crc32"`
	Parts int          `json:"parts"`
	// Entries is how many entries of the backup are in it.
	Entries int `json:"entries"`
}

// record returns what a record says of the archive.
func (a archiveFile) record(now time.Time) catalog.Archive {
	r := catalog.Archive{Split: a.Split}
	for _, f := range a.Files {
		r.Bytes += f.Bytes
		r.Parts += f.Parts
		r.Volumes = append(r.Volumes, catalog.Volume{Key: string(f.Key), Bytes: f.Bytes, CRC32: f.CRC32.String()})
	}
	if len(a.Files) > 0 {
		r.Key, r.CRC32, r.Made = string(a.Files[0].Key), a.Files[0].CRC32.String(), now
	}
	if len(a.Files) == 1 && a.Split == 0 {
		r.Volumes = nil
	}
	return r
}

// planArchive plans the files of an archive from the sealed manifest, and writes their tails and parts into the work
// files. The same manifest, seal and split give the same bytes whenever it is called.
func (s *Steps) planArchive(ctx context.Context, w work, packs *pool.Pool, split int64) (archiveFile, error) {
	policy, err := s.Sources.Policy(w.run.Source)
	if err != nil && failure.KindOf(err) != failure.NotFound { // an archive may be asked for after its source is gone
		return archiveFile{}, err
	}
	plan := &archivePlan{steps: s, work: w, pool: packs, rules: archive.Rules{Fast: policy.Eager, Equal: s.Vault.EqualParts()}}
	plan.file.Split = split
	lists := []list{{vault.Manifest(w.run.Source, w.run.ID), vault.Seal(w.run.Source, w.run.ID), vault.Archive(w.run.Source, w.run.ID)}}
	if split > 0 {
		if lists, err = plan.volumes(ctx, split); err != nil {
			return archiveFile{}, err
		}
	}
	for n, l := range lists {
		f, err := plan.one(ctx, n, l)
		if err != nil {
			return archiveFile{}, err
		}
		plan.file.Files = append(plan.file.Files, f)
	}
	return plan.file, nil
}

type archivePlan struct {
	steps *Steps
	work  work
	pool  *pool.Pool
	rules archive.Rules
	file  archiveFile
}

// list is a signed list of entries and the file that it becomes.
type list struct{ manifest, seal, file vault.Key }

// one plans one file.
func (p *archivePlan) one(ctx context.Context, n int, l list) (volumeFile, error) {
	layout := archive.NewLayout(p.pool)
	m, body, err := p.work.list(ctx, l.manifest)
	if err != nil {
		return volumeFile{}, err
	}
	defer body.Close()
	for e, err := range m.Entries() {
		if err == nil {
			err = layout.Add(e)
		}
		if err != nil {
			return volumeFile{}, err
		}
	}
	tail, closeTail, err := p.tail(ctx, n, l, m, layout)
	if err != nil {
		return volumeFile{}, err
	}
	layout.Append(tail, uint32(*tail.CRC32))
	parts, err := archive.Parts(layout.Ranges, p.rules)
	err = together(closeTail, func() error {
		if err != nil {
			return err
		}
		return writeLines(ctx, p.work, fmt.Sprintf("parts-%d.jsonl", n), slices.Values(parts))
	})
	return volumeFile{Key: l.file, Bytes: layout.Size, CRC32: manifest.CRC(layout.CRC32), Parts: len(parts), Entries: m.Sum().Entries}, err
}

// tail writes what follows the packs, and returns where it lies once it is closed. m has been read to its end.
func (p *archivePlan) tail(ctx context.Context, n int, l list, m *manifest.Reader, layout *archive.Layout) (at archive.Range, closeIt func() error, err error) {
	seal, err := p.bytes(ctx, l.seal)
	if err != nil {
		return at, nil, err
	}
	sealed, err := manifest.ParseSeal(seal)
	if err != nil {
		return at, nil, err
	}
	sum := m.Sum()
	if sealed.Manifest.SHA256 != sum.SHA256 || sealed.Manifest.Entries != sum.Entries {
		return at, nil, failure.New(failure.Corrupt, "the manifest of %s is not the one that was sealed", p.work.run.ID)
	}
	gzip, err := p.work.open(ctx, l.manifest, 0, -1)
	if err != nil {
		return at, nil, err
	}
	defer gzip.Close()
	again, body, err := p.work.list(ctx, l.manifest)
	if err != nil {
		return at, nil, err
	}
	defer body.Close()
	key := p.work.key(fmt.Sprintf("tail-%d", n))
	out := p.work.create(ctx, key, vault.Always())
	crc, size := crc32.NewIEEE(), &counter{}
	tail := archive.Tail{
		Seal: seal, Readme: m.Header.Readme, Started: m.Header.Started, Data: layout.Size,
		List: archive.CompressedDoc{
			Size: sum.Bytes, CRC32: sum.CRC32, Gzip: gzip, Sealed: sealed.Manifest.Deflated.CRC32,
			Length: sealed.Manifest.Deflated.Size + manifest.GzipHeader + manifest.GzipTrailer,
		},
	}
	if err := tail.Write(io.MultiWriter(out, crc, size), again.Entries()); err != nil {
		out.Abort()
		return at, nil, err
	}
	return archive.Range{Key: key, Length: size.n, Object: size.n, CRC32: new(manifest.CRC(crc.Sum32()))}, out.Close, nil
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func (p *archivePlan) bytes(ctx context.Context, key vault.Key) ([]byte, error) {
	if data, ok := p.work.recent.get(key); ok {
		return data, nil
	}
	data, _, err := p.work.vault.Get(ctx, key)
	return data, err
}

// assembleTime is how long one call works before it returns a cursor.
const assembleTime = 30 * time.Second

// until returns when a call has to stop: a part takes up to two minutes.
func (s *Steps) until(ctx context.Context) time.Time {
	until := s.Now().Add(assembleTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-2*time.Minute).Before(until) {
		until = deadline.Add(-2 * time.Minute)
	}
	return until
}

// join has the store join the parts of one file of an archive, as far as the time goes. The cursor that it returns
// names the next file once this one is complete.
func (s *Steps) join(ctx context.Context, w work, file archiveFile, at events.Assembly) (events.Assembly, error) {
	if at.Volume >= len(file.Files) {
		return events.Assembly{Done: true, Volume: at.Volume}, nil
	}
	f := file.Files[at.Volume]
	if at.Upload == "" {
		return s.beginFile(ctx, f, at.Volume)
	}
	var parts []archive.Part
	for part, err := range readLines[archive.Part](ctx, w, fmt.Sprintf("parts-%d.jsonl", at.Volume), 0, -1) {
		if err != nil {
			return at, err
		}
		parts = append(parts, part)
	}
	_, fresh := s.fresh.LoadAndDelete(at.Upload)
	assembler := archive.Assembler{Vault: s.Vault, Progress: s.add, Open: w.open, Fresh: fresh}
	upload := vault.Upload{Key: f.Key, ID: at.Upload}
	until, first := s.until(ctx), true
	have, err := assembler.Write(ctx, upload, parts, func() bool {
		more := first || s.Now().Before(until)
		first = false
		return more
	})
	if err != nil && failure.KindOf(err) == failure.NotFound {
		switch state, looked := s.look(ctx, upload, f); {
		case looked != nil:
			return at, looked
		case state == complete: // by an earlier attempt
			return s.beginNext(ctx, file, at.Volume)
		case state == gone: // somebody, or a rule of the bucket, has aborted it
			return s.beginFile(ctx, f, at.Volume)
		}
	}
	if err == nil && len(have) == len(parts) {
		if err = assembler.Complete(ctx, upload, parts, have, f.Bytes, uint32(f.CRC32)); err == nil {
			return s.beginNext(ctx, file, at.Volume)
		}
	}
	if kind := failure.KindOf(err); err != nil && (kind == failure.Corrupt || kind == failure.NotFound) {
		err = failure.New(kind, "a pack is damaged or gone: %w", err).WithHint("%s", rehashHint(w.run.Source))
	}
	at.Next = len(have)
	return at, err
}

// uploadState is what became of an upload.
type uploadState int

const (
	underWay uploadState = iota
	complete
	gone
)

// look finds out why something was not found: the upload itself may be gone. What is complete is proven later.
func (s *Steps) look(ctx context.Context, upload vault.Upload, f volumeFile) (uploadState, error) {
	if _, err := s.Vault.Parts(ctx, upload); failure.KindOf(err) != failure.NotFound {
		return underWay, err
	}
	info, err := s.Vault.Head(ctx, f.Key)
	switch {
	case err != nil && failure.KindOf(err) != failure.NotFound:
		return gone, err
	case err == nil && info.Size == f.Bytes && (!info.HasCRC32 || info.CRC32 == uint32(f.CRC32)):
		return complete, nil
	}
	return gone, nil
}

func (s *Steps) beginNext(ctx context.Context, file archiveFile, done int) (events.Assembly, error) {
	if done+1 == len(file.Files) {
		return events.Assembly{Done: true, Volume: done + 1}, nil
	}
	return s.beginFile(ctx, file.Files[done+1], done+1)
}

// beginFile begins the upload of a file. What an attempt left that died before it could say so goes with the work files.
func (s *Steps) beginFile(ctx context.Context, f volumeFile, volume int) (events.Assembly, error) {
	upload, err := s.Vault.CreateUpload(ctx, f.Key)
	if err == nil {
		s.fresh.Store(upload.ID, true)
	}
	return events.Assembly{Volume: volume, Upload: upload.ID}, err
}

// prove holds the store's own size and checksum of each file against those that follow from its pieces. A store that
// has no checksum of the whole gets every byte read again.
func (s *Steps) prove(ctx context.Context, run events.Run, file archiveFile) (backup.Proof, error) {
	if len(file.Files) == 0 {
		return s.provePacks(ctx, run)
	}
	proof := backup.Stored
	for _, f := range file.Files {
		info, err := s.Vault.Head(ctx, f.Key)
		if err != nil {
			return "", err
		}
		if !info.HasCRC32 || !s.Vault.Proves() {
			if info.CRC32, err = s.reread(ctx, f); err != nil {
				return "", err
			}
			proof = backup.ReRead
		}
		if info.Size != f.Bytes || info.CRC32 != uint32(f.CRC32) {
			return "", failure.New(failure.Corrupt, "the store has an archive of %d bytes with CRC-32 %08x, its pieces make %d bytes with %s",
				info.Size, info.CRC32, f.Bytes, f.CRC32)
		}
	}
	return proof, nil
}

// provePacks holds the store's own sizes and checksums of the packs behind a backup without an archive against those
// of its manifest. Where the store's word proves nothing, there is no proof.
func (s *Steps) provePacks(ctx context.Context, run events.Run) (backup.Proof, error) {
	if !s.Vault.Proves() {
		return backup.Unproven, nil
	}
	packs, err := pool.Open(ctx, s.Vault, run.Source)
	if err != nil {
		return "", err
	}
	image, err := verify.OpenPacks(ctx, s.Vault, run.Source, run.ID)
	if err != nil {
		return "", err
	}
	public := s.Signer.Public().(ed25519.PublicKey)
	report, err := restore.Stored(ctx, s.Vault, packs, image, []ed25519.PublicKey{public}, func(int64, int64) {})
	switch {
	case err != nil && failure.KindOf(err) == failure.Usage: // the store keeps no checksums
		return backup.Unproven, nil
	case err != nil:
		return "", err
	case !report.OK:
		return "", failure.New(failure.Corrupt, "%s: %s", report.Problems[0].Item, report.Problems[0].Message).WithHint("%s", rehashHint(run.Source))
	}
	return backup.Stored, nil
}

func (s *Steps) reread(ctx context.Context, f volumeFile) (uint32, error) {
	body, _, err := s.Vault.Open(ctx, f.Key, 0, f.Bytes)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	sum := crc32.NewIEEE()
	_, err = io.Copy(sum, body)
	return sum.Sum32(), err
}
