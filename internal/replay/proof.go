package replay

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/failure"
	"lifeboat/internal/lines"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
	"lifeboat/internal/verify"
	"lifeboat/internal/zipcheck"
)

// proof is what a check that takes several calls has proven. It is kept in check/proof: a line of JSON, and behind it the
// SHA-256s of the contents of another program's archive, 32 bytes for each of its entries.
//
// A call that goes on opens and reads lists, signatures and central directories anew, but none of the contents behind
// which the proof is. That holds for the very bytes that it was made of: where they are not there any more, the check
// begins anew.
type proof struct {
	proofFile
	steps   *Steps
	restore events.Restore
	limit   limit
	before  map[string]shown // how far it was when the call began
	anew    bool             // this call has begun one anew
	use     string           // that is being proven
}

// proofFile is the line of JSON.
type proofFile struct {
	Uses     map[string]*proven `json:"uses"` // by planFile.Use
	Shown    shown              `json:"shown"`
	Restarts int                `json:"restarts,omitzero"` // because other bytes were there
	Sums     int                `json:"sums,omitzero"`     // how many SHA-256s follow
}

// proven is how far the proof of one place of the bytes is.
type proven struct {
	Identity string            `json:"identity"` // of the bytes
	Own      verify.State      `json:"own,omitzero"`
	Foreign  zipcheck.Position `json:"foreign,omitzero"` // of an archive of another program
}

// shown is what the step's line in the record has counted.
type shown struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// maxRestarts is how often a check begins anew because other bytes are there.
const maxRestarts = 3

func (p *proven) done() (entries, bytes int64) {
	entries, bytes = p.Own.Done()
	return entries + int64(p.Foreign.Entries), bytes + p.Foreign.Done()
}

// proofSoFar returns what earlier calls of this check have proven.
func (s *Steps) proofSoFar(ctx context.Context, r events.Restore, limit limit) (*proof, error) {
	p := &proof{proofFile: proofFile{Uses: map[string]*proven{}}, steps: s, restore: r, limit: limit}
	if !limit.any() {
		return p, nil
	}
	body, _, err := s.Vault.Open(ctx, p.key(), 0, -1)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			err = nil
		}
		return p, err
	}
	defer body.Close()
	if err := p.read(body); err != nil {
		if failure.Damage(err) {
			err = failure.New(failure.Corrupt, "%w", err)
		}
		return nil, fmt.Errorf("read what was proven so far: %w", err)
	}
	p.before = p.far()
	return p, nil
}

func (p *proof) key() vault.Key { return vault.RestoreWork(p.restore.ID, "check/proof") }

func (p *proof) read(r io.Reader) error {
	input := bufio.NewReaderSize(r, 64<<10)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &p.proofFile); err != nil {
		return failure.New(failure.Corrupt, "%w", err)
	}
	if p.Sums == 0 {
		return nil
	}
	sums := make([][sha256.Size]byte, p.Sums)
	for i := range sums {
		if _, err := io.ReadFull(input, sums[i][:]); err != nil {
			return err
		}
	}
	for _, at := range p.Uses {
		at.Foreign.Sums = sums // a foreign archive has one use
	}
	return nil
}

// far is how far the proof is, by use.
func (p *proof) far() map[string]shown {
	far := map[string]shown{}
	for use, at := range p.Uses {
		if entries, bytes := at.done(); entries > 0 || bytes > 0 {
			far[use] = shown{entries, bytes}
		}
	}
	return far
}

// moved reports whether this call has proven anything, or found other bytes.
func (p *proof) moved() bool { return p.anew || !maps.Equal(p.far(), p.before) }

// late reports whether this call has proven something and has little time for what follows.
func (p *proof) late() bool { return p.limit.any() && p.limit.late() && p.moved() }

// of returns how far the proof of a place is; the beginning, where other bytes lie there by now.
func (p *proof) of(ctx context.Context, b *subject, use string) (*proven, error) {
	p.use = use
	at, there := p.Uses[use]
	if !there {
		at = &proven{}
		p.Uses[use] = at
	}
	if !p.limit.any() {
		return at, nil
	}
	identity, err := p.steps.identity(ctx, b, use)
	if err != nil {
		return nil, err
	}
	if there && at.Identity != identity {
		*at, p.anew = proven{}, true
		if p.Restarts++; p.Restarts > maxRestarts {
			return nil, failure.New(failure.Conflict, "%s keeps changing while it is checked", b.name).
				WithHint("a clean-up may be merging its packs, or somebody writes there: wait until that is over, then run the same command again")
		}
	}
	at.Identity = identity
	return at, nil
}

// keep stores the proof, if there is anything new.
func (p *proof) keep(ctx context.Context) error {
	if !p.limit.any() || !p.moved() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	var sums [][sha256.Size]byte
	for _, at := range p.Uses {
		if at.Foreign.Sums != nil {
			sums = at.Foreign.Sums
		}
	}
	p.Sums = len(sums)
	out := p.steps.Vault.NewWriter(ctx, p.key(), vault.Always())
	_, err := lines.Write(out, p.proofFile)
	for i := range sums {
		if err == nil {
			_, err = out.Write(sums[i][:])
		}
	}
	if err != nil {
		out.Abort()
		return err
	}
	return out.Close()
}

// keepTime bounds how long it takes to keep how far a call is.
const keepTime = 10 * time.Second

// pause ends a call whose check goes on in the next one.
func (s *Steps) pause(ctx context.Context, p *proof) (events.Checked, done, error) {
	if !p.moved() {
		return events.Checked{}, done{}, stuck("the check of this restore", "its next piece")
	}
	var now shown
	if at, ok := p.Uses[p.use]; ok {
		now.Entries, now.Bytes = at.done()
	}
	d := done{items: max(0, now.Entries-p.Shown.Entries), bytes: max(0, now.Bytes-p.Shown.Bytes)}
	d.message = fmt.Sprintf("%s of the contents are checked", plain.Size(now.Bytes))
	p.Shown = shown{p.Shown.Entries + d.items, p.Shown.Bytes + d.bytes}
	if err := p.keep(ctx); err != nil {
		return events.Checked{}, done{}, err
	}
	return events.Checked{Offset: now.Entries, Plan: noPlan()}, d, nil
}

// identity tells the bytes that a check reads from others: by which objects they are in, and by what the store says of
// these. It is asked for before they are read.
func (s *Steps) identity(ctx context.Context, b *subject, use string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, b.digest())
	say := func(info vault.Info) {
		fmt.Fprintln(h, info.Key, info.Size, info.ETag, info.Modified.UnixNano(), info.CRC32)
	}
	switch {
	case b.path != "":
		fmt.Fprintln(h, b.state())
	case b.record.ID != "" && use == fromPacks:
		if err := s.packsOf(ctx, b, say); err != nil {
			return "", err
		}
	default:
		for _, key := range b.objects() {
			info, err := s.Vault.Head(ctx, key)
			if err != nil {
				return "", err
			}
			say(info)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// packsOf says which objects hold the packs of a backup.
func (s *Steps) packsOf(ctx context.Context, b *subject, say func(vault.Info)) error {
	m, body, err := b.image.Manifest(ctx)
	if err != nil {
		return err
	}
	body.Close()
	wanted := map[vault.Key]vault.Info{}
	for _, id := range m.PackOrder {
		if at, ok := b.pool.Find(id); ok {
			wanted[at.Key] = vault.Info{Key: at.Key}
		}
	}
	for info, err := range s.Vault.List(ctx, vault.Packs(b.record.Source)) {
		if err != nil {
			return err
		}
		if _, ok := wanted[info.Key]; ok {
			wanted[info.Key] = info
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		say(wanted[key])
	}
	return nil
}

// objects are those of an archive in the vault.
func (b *subject) objects() []vault.Key {
	if b.record.ID == "" {
		return []vault.Key{b.incoming}
	}
	if volumes := b.record.Archive.Volumes; len(volumes) > 0 {
		keys := make([]vault.Key, len(volumes))
		for i, v := range volumes {
			keys[i] = vault.Key(v.Key)
		}
		return keys
	}
	return []vault.Key{vault.Archive(b.record.Source, b.record.ID)}
}
