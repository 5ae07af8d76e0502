package zipline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// A snapshot of one folder has, instead of the layout of the whole:
//
//	folder.json           what folder and file lies where, and what Zipline knows of it: see folderdoc.go
//	<name>/…/<original>   the folder and all below it, as in Zipline
//
// Names are those of Zipline, made fit for an archive and for every file system (foldername.go). The export itself
// is read and not kept: it holds the secrets of the whole instance. Memory grows with the folders of the instance and
// with the files of the tree, some 500 bytes each.

// maxTreeFiles bounds the files of one tree, which are in memory at once.
const maxTreeFiles = 250_000

// snapshotFolder is SnapshotFrom for one folder and all below it: the export, the map, the objects.
func (s *Source) snapshotFolder(ctx context.Context, id string, at *cursor, sink app.PausingSink) (app.Facts, error) {
	var t *tree
	var facts app.Facts
	var err error
	if at == nil {
		t, facts, err = s.mapped(ctx, id, sink)
	} else {
		t, facts, err = rereadTree(ctx, at, sink)
	}
	if err != nil {
		return app.Facts{}, err
	}
	return facts, s.treeObjects(ctx, t, facts, at, sink)
}

// mapped stores what comes before the objects: the map of the folder, and what is odd about it.
func (s *Source) mapped(ctx context.Context, id string, sink app.Sink) (*tree, app.Facts, error) {
	if _, err := s.countOnly(ctx); err != nil { // it is quick to find what is wrong with server and token
		return nil, app.Facts{}, err
	}
	t, err := s.tree(ctx, id)
	if err != nil {
		return nil, app.Facts{}, err
	}
	t.layOut()
	for _, finding := range t.findings() {
		sink.Found(finding)
	}
	digest, err := t.digest()
	if err != nil {
		return nil, app.Facts{}, err
	}
	return t, app.Facts{
		Application: "Zipline",
		Version:     t.versions.zipline,
		Versions:    map[string]string{"export": t.versions.export, "node": t.versions.node},
		Counts:      map[string]int64{"folders": int64(len(t.folders)), "files": int64(len(t.files))},
		Digest:      digest,
	}, t.store(ctx, sink)
}

// rereadTree reads the map that an earlier piece has stored: all that listing needs of a tree.
func rereadTree(ctx context.Context, at *cursor, sink app.PausingSink) (t *tree, facts app.Facts, err error) {
	if at.Facts == nil {
		return nil, app.Facts{}, failure.New(failure.Corrupt, "the cursor of the snapshot is not one of a folder").WithHint("start the backup again")
	}
	err = sink.Reread(ctx, folderDocument, func(body io.Reader) error {
		m, err := readFolderMap(body)
		if err == nil {
			t = &tree{root: m.id, folders: m.folders, files: m.files}
		}
		return err
	})
	return t, *at.Facts, err
}

// tree reads the export and returns one folder with all that belongs to it.
func (s *Source) tree(ctx context.Context, id string) (*tree, error) {
	t := &tree{root: id}
	if err := s.readTree(ctx, t); err != nil {
		return nil, err
	}
	if t.late && t.all != nil { // the files came before the folders: now that these are known, once more
		t.again = true
		if err := s.readTree(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := t.gather(); err != nil {
		return nil, err
	}
	t.tag()
	return t, nil
}

func (s *Source) readTree(ctx context.Context, t *tree) error {
	e, err := s.readRows(ctx, t.add)
	if err != nil {
		return err
	}
	t.export = e
	return nil
}

// readRows asks for the export and hands its rows on; nothing is kept of it but what is said once.
func (s *Source) readRows(ctx context.Context, each func(array string, row any) error) (*export, error) {
	answer, err := s.client.get(ctx, "nometrics=true", s.options.ExportTimeout)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body := s.transport(ctx, answer.Body)
	e, err := readWith(body, false, maxRow, each)
	if err == nil {
		_, err = io.Copy(io.Discard, body) // nothing but the end
	}
	return e, err
}

// treeObjects lists the objects of the datasource that belong to the tree, then the folders in which there are none.
func (s *Source) treeObjects(ctx context.Context, t *tree, facts app.Facts, at *cursor, sink app.PausingSink) error {
	m := newTreeListing(t, facts, sink)
	if err := m.goOn(at); err != nil {
		return err
	}
	if err := s.list(ctx, at, sink, m.position, m.take); err != nil {
		return err
	}
	if m.listed == 0 && len(t.files) > 0 {
		sink.Found(problem("suspicious", "", "the folder holds %d files, but %s is empty: is the volume mounted, and is it this Zipline's datasource?",
			len(t.files), s.options.Datasource.Describe()))
	}
	m.missing()
	m.duplicates()
	return m.empty()
}

// treeListing compares the objects of the datasource with the files of a tree.
type treeListing struct {
	match
	tree  *tree
	byKey map[string][]int // files of the tree by stored name
	seen  []bool           // of each file: the datasource has, or can't read, its object
	held  []bool           // of each file: its object is in the snapshot
	full  map[string]bool  // paths of folders that hold an object or a folder
	facts app.Facts
}

func newTreeListing(t *tree, facts app.Facts, sink app.Sink) *treeListing {
	byKey := map[string][]int{}
	for i := range t.files {
		byKey[t.files[i].Stored] = append(byKey[t.files[i].Stored], i)
	}
	return &treeListing{
		tree: t, match: match{sink: sink}, byKey: byKey, facts: facts,
		seen: make([]bool, len(t.files)), held: make([]bool, len(t.files)), full: map[string]bool{},
	}
}

// goOn takes over what an earlier piece has seen.
func (l *treeListing) goOn(at *cursor) error {
	if at == nil {
		return nil
	}
	l.listed = at.Listed
	if err := unpack(at.Seen, len(l.seen), func(i int) { l.seen[i] = true }); err != nil {
		return err
	}
	return unpack(at.Held, len(l.held), func(i int) {
		l.held[i] = true
		l.holds(l.tree.files[i].Path)
	})
}

// position is where the next piece goes on after a key.
func (l *treeListing) position(after string) cursor {
	return cursor{
		After: after, Listed: l.listed, Facts: &l.facts,
		Seen: packBits(len(l.seen), func(i int) bool { return l.seen[i] }),
		Held: packBits(len(l.held), func(i int) bool { return l.held[i] }),
	}
}

func (l *treeListing) take(object app.Object, err error) error {
	if skipped, ok := errors.AsType[*datasource.Skipped](err); ok {
		l.listed++
		if files := l.byKey[skipped.Key]; len(files) > 0 {
			l.claim(files)
			l.sink.Found(problem("unreadable", l.tree.files[files[0]].Path, "%q is not in the backup: %s", shorten(skipped.Key), skipped.Reason))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("list Zipline's datasource: %w", err)
	}
	l.listed++
	files := l.byKey[object.Key]
	l.claim(files)
	for n, i := range files {
		f := &l.tree.files[i]
		if n == 0 {
			l.compareSize(object, []row{{size: f.Size}})
		}
		object.Path = f.Path
		l.holds(f.Path)
		l.held[i] = true
		if err := l.sink.Object(object); err != nil {
			return err
		}
	}
	return nil
}

func (l *treeListing) claim(files []int) {
	for _, i := range files {
		l.seen[i] = true
	}
}

// holds notes that there is something in every folder above path.
func (l *treeListing) holds(path string) {
	for {
		slash := strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/')
		if slash < 0 || l.full[path[:slash+1]] {
			return
		}
		path = path[:slash+1]
		l.full[path] = true
	}
}

func (l *treeListing) missing() {
	for i, seen := range l.seen {
		if f := &l.tree.files[i]; !seen {
			l.sink.Found(problem("missing", f.Path,
				"the export lists the file as %q, but there is no such object: it was deleted during the run, or its upload failed in the store; upload it again or delete it in Zipline", shorten(f.Stored)))
		}
	}
}

func (l *treeListing) duplicates() {
	for i := range l.tree.files {
		f := &l.tree.files[i]
		if files := l.byKey[f.Stored]; len(files) > 1 && files[0] == i {
			l.sink.Found(problem("duplicate-name", f.Stored,
				"%d files of the folder have this stored name and share one object; rename all but one in Zipline", len(files)))
		}
	}
}

// empty lists the folders that would not be seen in the archive otherwise.
func (l *treeListing) empty() error {
	for _, f := range slices.Backward(l.tree.folders) { // what lies deeper first
		if l.full[f.Path] {
			continue
		}
		l.holds(f.Path)
		err := l.sink.Object(app.Object{
			Key: "folder " + f.ID, Path: f.Path, Modified: dateOf(f.Created), Identity: "folder", Settled: true, Dir: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findings says what is odd about the tree, and what of it is not in the backup.
func (t *tree) findings() []app.Finding {
	found := slices.DeleteFunc(t.odd.findings(), func(f app.Finding) bool {
		return !strings.HasPrefix(f.Item, "data.folders") && !strings.HasPrefix(f.Item, "data.files") && !strings.HasPrefix(f.Item, "versions")
	})
	found = append(found, t.found...)
	protected := 0
	for i := range t.files {
		if t.files[i].Protected {
			protected++
		}
	}
	if protected > 0 {
		found = append(found, note("password", t.top().Path,
			"the files are in the backup, but the passwords of %d of them are not: a backup of a folder holds no secrets; a backup of the whole source does", protected))
	}
	return found
}

func (t *tree) top() *treeFolder { return t.folders[0] }

// errNoFolder says that the instance has no such folder.
func errNoFolder(text string) *failure.Error {
	return failure.New(failure.NotFound, "Zipline has no folder %q", shorten(text))
}
