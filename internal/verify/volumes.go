package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"lifeboat/internal/archive"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// volumes is a split archive: all of its volumes, read one behind the other as if they were one file. Its list of
// entries is put together from theirs; what was signed is the list of each volume.
type volumes struct {
	files  []fileImage
	names  []string
	header manifest.Header // without the volume
	all    []manifest.VolumeFile
	starts []int64 // where the data of each begins
	size   int64   // of all data
}

// maxData bounds what a volume may say of its size, in bytes: more than any store holds.
const maxData = 1 << 46

// OpenRecorded opens the archive that a record names: one file, or all volumes of a split one. NotFound where there is
// none.
func OpenRecorded(ctx context.Context, v *vault.Vault, record catalog.Record) (Image, error) {
	if record.Archive.Key == "" {
		return nil, failure.New(failure.NotFound, "the backup %s has no archive", record.ID)
	}
	if len(record.Archive.Volumes) == 0 {
		return OpenArchive(ctx, v, record.Source, record.ID)
	}
	var files []fileImage
	var names []string
	for _, volume := range record.Archive.Volumes {
		info, err := v.Head(ctx, vault.Key(volume.Key))
		if err != nil {
			return nil, err
		}
		name := path.Base(volume.Key)
		if info.Size != volume.Bytes {
			return nil, failure.New(failure.Corrupt, "%s has %d bytes, the record says %d", name, info.Size, volume.Bytes)
		}
		f, err := archive.Open(ctx, stored{v, vault.Key(volume.Key), info.Size})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files, names = append(files, fileImage{f}), append(names, name)
	}
	return joinVolumes(ctx, files, names)
}

// OpenVolumes opens an archive file. One that is a volume of a split archive is opened together with all others, which
// have to lie beside it: NotFound says which ones do not. The caller closes it.
func OpenVolumes(ctx context.Context, name string) (Image, io.Closer, error) {
	image, file, err := OpenFile(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	header, err := headerOf(ctx, image)
	if err != nil && !failure.Damage(err) {
		file.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if err != nil || header.Volume == nil || len(header.Volume.All) == 1 {
		return image, file, nil // a manifest that cannot be read is for the check to report
	}
	if !sensible(*header.Volume) {
		file.Close()
		return nil, nil, failure.New(failure.Corrupt, "%s says that it is volume %d of %d", name, header.Volume.Number, len(header.Volume.All))
	}
	paths, missing := siblings(name, *header.Volume)
	if len(missing) > 0 {
		file.Close()
		return nil, nil, failure.New(failure.NotFound, "%s is volume %d of %d; beside it %s missing: %s", name, header.Volume.Number,
			len(paths), map[bool]string{true: "is", false: "are"}[len(missing) == 1], firstNames(missing)).
			WithHint("put all volumes into one folder; `lifeboat download %s` writes them", header.Backup)
	}
	open, all := closers{file}, make([]fileImage, len(paths))
	for i, path := range paths {
		if i+1 == header.Volume.Number {
			all[i] = image.(fileImage)
			continue
		}
		other, file, err := OpenFile(ctx, path)
		if err != nil {
			return nil, nil, errors.Join(err, open.Close())
		}
		all[i], open = other.(fileImage), append(open, file)
	}
	joined, err := joinVolumes(ctx, all, paths)
	if err != nil {
		return nil, nil, errors.Join(err, open.Close())
	}
	return joined, open, nil
}

func sensible(v manifest.Volume) bool { return v.Number >= 1 && v.Number <= len(v.All) }

type closers []io.Closer

func (c closers) Close() error {
	var all error
	for _, one := range c {
		all = errors.Join(all, one.Close())
	}
	return all
}

func firstNames(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// siblings returns where the volumes of a split archive are, the file itself among them, and the names of those that
// are not there. Volumes that were given another name together, as a download does, are found too.
func siblings(file string, volume manifest.Volume) (paths, missing []string) {
	names := Volumes(file, volume)
	for i, name := range names {
		at := filepath.Join(filepath.Dir(file), name)
		if i+1 == volume.Number {
			at = file
		}
		if info, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() { // anything else is said when it is opened
			missing = append(missing, name)
		}
		paths = append(paths, at)
	}
	return paths, missing
}

// Volumes returns the names that the volumes of a split archive have beside one of them.
func Volumes(file string, volume manifest.Volume) []string {
	stem, numbered := strings.CutSuffix(filepath.Base(file), volumeEnd(volume.Number))
	names := make([]string, len(volume.All))
	for i, v := range volume.All {
		names[i] = filepath.Base(filepath.FromSlash(v.Name)) // whoever wrote it names nothing in other folders
		if numbered || names[i] == ".." || names[i] == "." {
			names[i] = stem + volumeEnd(i+1)
		}
	}
	return names
}

func volumeEnd(number int) string { return fmt.Sprintf(".v%03d.zip", number) }

func headerOf(ctx context.Context, image Image) (manifest.Header, error) {
	m, body, err := image.Manifest(ctx)
	if err != nil {
		return manifest.Header{}, err
	}
	defer body.Close()
	return m.Header, nil
}

// joinVolumes joins all volumes of a split archive, in order. Corrupt where they are not of one archive, or where one
// is missing.
func joinVolumes(ctx context.Context, files []fileImage, names []string) (*volumes, error) {
	v := &volumes{files: files, names: names}
	for i, f := range files {
		h, err := headerOf(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		volume := h.Volume
		h.Volume = nil
		switch {
		case volume == nil || volume.Number != i+1 || len(volume.All) != len(files):
			return nil, failure.New(failure.Corrupt, "%s is not volume %d of %d", names[i], i+1, len(files)).
				WithHint("the volumes of an archive keep their numbers: NAME.v001.zip, NAME.v002.zip, …")
		case i == 0:
			v.header, v.all = h, volume.All
		case !reflect.DeepEqual(h, v.header) || !slices.Equal(volume.All, v.all):
			return nil, failure.New(failure.Corrupt, "%s and %s are not of the same archive", names[0], names[i]).
				WithHint("volumes of one backup belong together")
		}
		here := v.all[i]
		if here.Data < 0 || here.Data > maxData || here.Entries != f.Seal().Manifest.Entries {
			return nil, failure.New(failure.Corrupt, "%s does not hold what the list of volumes says", names[i])
		}
		v.starts = append(v.starts, v.size)
		v.size += here.Data
	}
	return v, nil
}

// Seal says how many entries there are. A split archive as a whole has no signature: each volume has its own.
func (v *volumes) Seal() manifest.Seal {
	var s manifest.Seal
	for _, one := range v.all {
		s.Manifest.Entries += one.Entries
	}
	return s
}

// Manifest puts the list of all entries together, as that of the backup has them.
func (v *volumes) Manifest(ctx context.Context) (*manifest.Reader, io.Closer, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(v.write(ctx, w)) }()
	m, err := manifest.Open(r)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return m, r, nil
}

func (v *volumes) write(ctx context.Context, w io.Writer) error {
	list, err := manifest.NewWriter(w, v.header)
	if err != nil {
		return err
	}
	known := map[string]manifest.Pack{}
	for i := range v.files {
		if err := v.each(ctx, i, func(m *manifest.Reader) error { return addPacks(list, m, known) }); err != nil {
			return err
		}
	}
	for i := range v.files {
		if err := v.each(ctx, i, func(m *manifest.Reader) error { return addEntries(list, m) }); err != nil {
			return err
		}
	}
	_, err = list.Close()
	return err
}

func (v *volumes) each(ctx context.Context, i int, do func(*manifest.Reader) error) error {
	m, body, err := v.files[i].Manifest(ctx)
	if err == nil {
		err = errors.Join(do(m), body.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.names[i], err)
	}
	return nil
}

// addPacks writes the packs that no earlier volume names.
func addPacks(list *manifest.Writer, m *manifest.Reader, known map[string]manifest.Pack) error {
	for _, id := range m.PackOrder {
		if pack, ok := known[id]; ok {
			if pack != m.Packs[id] {
				return failure.New(failure.Corrupt, "it says something else of the pack %s than an earlier volume", id)
			}
			continue
		}
		known[id] = m.Packs[id]
		if err := corruptIf(list.Pack(m.Packs[id])); err != nil {
			return err
		}
	}
	return nil
}

// addEntries writes the entries of a volume. What the list refuses, such as a path that an earlier volume has, is
// Corrupt.
func addEntries(list *manifest.Writer, m *manifest.Reader) error {
	for e, err := range m.Entries() {
		if err != nil {
			return err
		}
		if err := corruptIf(list.Entry(e)); err != nil {
			return err
		}
	}
	return nil
}

// corruptIf makes Corrupt of what the list refuses; what is wrong with where it is written stays as it is.
func corruptIf(err error) error {
	if err != nil && failure.KindOf(err) == failure.Invalid {
		return failure.New(failure.Corrupt, "%w", err)
	}
	return err
}

// Data reads the bytes of the entries, from volume to volume.
func (v *volumes) Data(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset >= v.size {
		return io.NopCloser(strings.NewReader("")), nil
	}
	first := sort.Search(len(v.starts), func(i int) bool { return v.starts[i] > offset }) - 1
	return &volumeReader{ctx: ctx, volumes: v, next: first, skip: offset - v.starts[first]}, nil
}

type volumeReader struct {
	ctx     context.Context
	volumes *volumes
	next    int
	skip    int64
	body    io.ReadCloser
}

func (r *volumeReader) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if r.next == len(r.volumes.files) {
				return 0, io.EOF
			}
			var err error
			if r.body, err = r.volumes.files[r.next].Data(r.ctx, r.skip); err != nil {
				r.body = nil
				return 0, err
			}
			r.next, r.skip = r.next+1, 0
		}
		n, err := r.body.Read(p)
		if err == io.EOF {
			err = r.Close()
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

func (r *volumeReader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
