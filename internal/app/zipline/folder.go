package zipline

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"lifeboat/internal/app"
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

// snapshotFolder is Snapshot for one folder and all below it: the export, the map, the objects.
func (s *Source) snapshotFolder(ctx context.Context, id string, sink app.Sink) (app.Facts, error) {
	t, err := s.tree(ctx, id)
	if err != nil {
		return app.Facts{}, err
	}
	t.layOut()
	for _, finding := range t.findings() {
		sink.Found(finding)
	}
	digest, err := t.digest()
	if err != nil {
		return app.Facts{}, err
	}
	if err := t.store(ctx, sink); err != nil {
		return app.Facts{}, err
	}
	if err := s.treeObjects(ctx, t, sink); err != nil {
		return app.Facts{}, err
	}
	return app.Facts{
		Application: "Zipline",
		Version:     t.versions.zipline,
		Versions:    map[string]string{"export": t.versions.export, "node": t.versions.node},
		Counts:      map[string]int64{"folders": int64(len(t.folders)), "files": int64(len(t.files))},
		Digest:      digest,
	}, nil
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
func (s *Source) treeObjects(ctx context.Context, t *tree, sink app.Sink) error {
	byKey := map[string][]int{}
	for i := range t.files {
		byKey[t.files[i].Stored] = append(byKey[t.files[i].Stored], i)
	}
	l := &treeListing{tree: t, match: match{sink: sink}, byKey: byKey, seen: make([]bool, len(t.files)), full: map[string]bool{}}
	for object, err := range s.options.Datasource.List(ctx) {
		if err := l.take(object, err); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list Zipline's datasource: %w", err)
	}
	if l.listed == 0 && len(t.files) > 0 {
		sink.Found(problem("suspicious", "", "the folder holds %d files, but %s is empty: is the volume mounted, and is it this Zipline's datasource?",
			len(t.files), s.options.Datasource.Describe()))
	}
	l.missing()
	l.duplicates()
	return l.empty()
}

// treeListing compares the objects of the datasource with the files of a tree.
type treeListing struct {
	match
	tree  *tree
	byKey map[string][]int // files of the tree by stored name
	seen  []bool           // of each file: the datasource has, or can't read, its object
	full  map[string]bool  // paths of folders that hold an object or a folder
}

func (l *treeListing) take(object app.Object, err error) error {
	if skipped, ok := asSkipped(err); ok {
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
