package verify

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// DeepReport is what a deep verification found.
type DeepReport struct {
	Backups  int
	Packs    int   // that the backups name
	Objects  int   // of the store that they lie in, each of which was read once
	Bytes    int64 // that were read
	Problems []app.Finding
	Damaged  map[backup.ID]int // problems by backup
}

// OK reports whether nothing was found.
func (r *DeepReport) OK() bool { return len(r.Problems) == 0 }

// deepReads is how many objects are read at the same time.
const deepReads = 4

// Deep reads every pack that backups of one source name as a whole, what no backup needs included, and holds its bytes
// against the size and the CRC-32 of the manifests. A pack that several backups share is read once, wherever it lies. A
// manifest that cannot be read, or is not the one that its record names, is a problem of its backup.
func Deep(ctx context.Context, v *vault.Vault, source backup.Source, records []catalog.Record, progress func(items, bytes int64)) (DeepReport, error) {
	d := &deep{vault: v, packs: map[manifest.Pack][]backup.ID{}, report: DeepReport{Backups: len(records), Damaged: map[backup.ID]int{}}, progress: progress}
	for _, r := range records {
		if err := d.read(ctx, r); err != nil {
			return d.report, err
		}
	}
	packs, err := pool.Open(ctx, v, source)
	if err != nil {
		return d.report, err
	}
	for _, index := range packs.Damaged() {
		d.found(string(index), "the index of a merged pack is damaged", nil)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(deepReads)
	for _, o := range d.objects(packs) {
		group.Go(func() error { return d.check(groupCtx, o) })
	}
	err = group.Wait()
	slices.SortStableFunc(d.report.Problems, func(a, b app.Finding) int { return cmp.Compare(a.Item, b.Item) })
	return d.report, err
}

type deep struct {
	vault    *vault.Vault
	packs    map[manifest.Pack][]backup.ID // who names it
	progress func(items, bytes int64)

	mutex  sync.Mutex
	report DeepReport
}

func (d *deep) found(item, message string, needed []backup.ID) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(needed) > 0 {
		names := make([]string, len(needed))
		for i, id := range needed {
			names[i] = string(id)
			d.report.Damaged[id]++
		}
		message += fmt.Sprintf("; %s", plural(names))
	}
	d.report.Problems = append(d.report.Problems, app.Finding{Severity: app.Problem, Kind: "corrupt", Item: item, Message: message})
}

func plural(names []string) string {
	if len(names) == 1 {
		return "backup " + names[0] + " needs it"
	}
	return "the backups " + strings.Join(names, ", ") + " need it"
}

// read notes which packs a backup names.
func (d *deep) read(ctx context.Context, record catalog.Record) error {
	packs, err := d.manifest(ctx, record)
	switch kind := failure.KindOf(err); {
	case err != nil && (kind == failure.Corrupt || kind == failure.NotFound):
		d.found("manifest", err.Error(), []backup.ID{record.ID})
		return nil
	case err != nil:
		return err
	}
	for _, p := range packs {
		d.packs[p] = append(d.packs[p], record.ID)
	}
	return nil
}

func (d *deep) manifest(ctx context.Context, record catalog.Record) (map[string]manifest.Pack, error) {
	image, err := sealed(ctx, d.vault, record.Source, record.ID)
	if err != nil {
		return nil, err
	}
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := m.Skip(); err != nil {
		return nil, err
	}
	if m.Digest() != record.Manifest.SHA256 {
		return nil, failure.New(failure.Corrupt, "the record names a manifest with the SHA-256 %s, the vault has %s", record.Manifest.SHA256, m.Digest())
	}
	return m.Packs, nil
}

// Signed says who signed the manifest of a backup in the vault, without a look at its packs. One that does not match its
// seal or its record is Corrupt.
func Signed(ctx context.Context, v *vault.Vault, record catalog.Record, trusted ...ed25519.PublicKey) (manifest.Authenticity, error) {
	image, err := sealed(ctx, v, record.Source, record.ID)
	if err != nil {
		return "", err
	}
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if err := m.Skip(); err != nil {
		return "", err
	}
	if m.Digest() != record.Manifest.SHA256 {
		return "", failure.New(failure.Corrupt, "the record names a manifest with the SHA-256 %s, the vault has %s", record.Manifest.SHA256, m.Digest())
	}
	return image.Seal().Check(m, image.Seal().Manifest.Entries, trusted...) // the digest covers the entries
}

// object is an object of the store and the packs that lie in it.
type object struct {
	key   vault.Key
	size  int64
	packs []*packIn
}

type packIn struct {
	manifest.Pack
	offset, end int64
	needed      []backup.ID
	crc         uint32
}

// objects gathers the packs by the objects they lie in, in the order of keys and of offsets. A pack that is not there,
// or has another size, is a problem.
func (d *deep) objects(packs *pool.Pool) []*object {
	all := map[vault.Key]*object{}
	for pack, needed := range d.packs {
		d.report.Packs++
		spot, ok := packs.Find(pack.ID)
		switch {
		case !ok:
			d.found("pack "+pack.ID, "it is gone", needed)
			continue
		case spot.Bytes != pack.Bytes:
			d.found("pack "+pack.ID, fmt.Sprintf("it has %d bytes, the manifest says %d", spot.Bytes, pack.Bytes), needed)
			continue
		}
		o, ok := all[spot.Key]
		if !ok {
			o = &object{key: spot.Key, size: spot.Object}
			all[spot.Key] = o
		}
		o.packs = append(o.packs, &packIn{Pack: pack, offset: spot.Offset, end: spot.Offset + spot.Bytes, needed: needed})
	}
	list := slices.SortedFunc(maps.Values(all), func(a, b *object) int { return cmp.Compare(a.key, b.key) })
	for _, o := range list {
		slices.SortFunc(o.packs, func(a, b *packIn) int {
			return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.end, b.end), cmp.Compare(a.CRC32, b.CRC32))
		})
	}
	d.report.Objects = len(list)
	return list
}

// check reads an object from its beginning to its end. What it cannot read concerns every pack that is not over by then.
func (d *deep) check(ctx context.Context, o *object) error {
	at, err := d.sum(ctx, o)
	if kind := failure.KindOf(err); err != nil && kind != failure.Corrupt && kind != failure.NotFound {
		return err
	}
	for _, p := range o.packs {
		switch {
		case p.end > at:
			d.found("pack "+p.ID, fmt.Sprintf("it cannot be read to its end: %v", err), p.needed)
		case p.crc != uint32(p.CRC32):
			d.found("pack "+p.ID, fmt.Sprintf("its bytes have the CRC-32 %08x, the manifest says %s", p.crc, p.CRC32), p.needed)
		}
	}
	if d.progress != nil {
		d.progress(int64(len(o.packs)), 0)
	}
	return nil
}

// sum computes the CRC-32 of each pack in an object and returns how far it came. It reads by range: a checksum of the
// whole object would not say which pack is damaged.
func (d *deep) sum(ctx context.Context, o *object) (at int64, err error) {
	body, _, err := d.vault.Open(ctx, o.key, 0, o.size)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	buffer := make([]byte, 256<<10)
	open := o.packs
	for at < o.size {
		n, err := body.Read(buffer)
		for _, p := range open {
			if p.offset >= at+int64(n) {
				break
			}
			from, to := max(p.offset, at), min(p.end, at+int64(n))
			if from < to {
				p.crc = crc32.Update(p.crc, crc32.IEEETable, buffer[from-at:to-at])
			}
		}
		at += int64(n)
		for len(open) > 0 && open[0].end <= at {
			open = open[1:]
		}
		d.readSome(int64(n))
		if err == io.EOF && at < o.size {
			return at, failure.New(failure.Corrupt, "read %s: it ends at %d of %d bytes", o.key, at, o.size)
		}
		if err != nil && err != io.EOF {
			return at, err
		}
	}
	return at, nil
}

func (d *deep) readSome(n int64) {
	d.mutex.Lock()
	d.report.Bytes += n
	d.mutex.Unlock()
	if d.progress != nil {
		d.progress(0, n)
	}
}
