package zipline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// folder.json says what the files of a folder's backup are. It is one JSON object, in this order:
//
//	format    1; a higher one is not read
//	zipline   version of the Zipline that the folder is of
//	folder    id of the folder
//	path      where it lay in Zipline, such as "user:Work/2024"; "/" in names is written "\/", and "\" "\\"
//	folders   [treeFolder], parents before children, the folder itself first
//	files     [treeFile], in the order of their folders
//
// The tree lies beside it in a folder with the folder's own name; where that is folder.json itself, "folder.json (2)"
// is the tree's. It holds no passwords, nor anything else that is secret.
const (
	folderDocument = "folder.json"
	folderFormat   = 1
	// maxFolderLine bounds one folder or file of a folder.json, in bytes.
	maxFolderLine = 1 << 20
)

// folderMap is a folder.json that was read.
type folderMap struct {
	format  int
	zipline string
	id      string
	path    string
	folders []*treeFolder
	files   []treeFile
}

// store writes folder.json into the sink, row by row.
func (t *tree) store(ctx context.Context, sink app.Sink) error {
	reader, writer := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffered := bufio.NewWriter(writer)
		err := t.write(buffered)
		if err == nil {
			err = buffered.Flush()
		}
		writer.CloseWithError(err)
	}()
	err := sink.Document(ctx, app.Document{Path: folderDocument}, reader)
	reader.Close()
	<-done
	return err
}

func (t *tree) write(w io.Writer) error {
	head := []any{`{"format":`, folderFormat, `,"zipline":`, t.versions.zipline, `,"folder":`, t.root, `,"path":`, t.path}
	for i, part := range head {
		text, raw := part.(string)
		if i%2 == 1 || !raw {
			encoded, err := json.Marshal(part)
			if err != nil {
				return err
			}
			text = string(encoded)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	if err := writeRows(w, `,"folders":[`, t.folders); err != nil {
		return err
	}
	if err := writeRows(w, `],"files":[`, t.files); err != nil {
		return err
	}
	_, err := io.WriteString(w, "]}\n")
	return err
}

func writeRows[T any](w io.Writer, before string, rows []T) error {
	if _, err := io.WriteString(w, before); err != nil {
		return err
	}
	for i := range rows {
		line, err := json.Marshal(&rows[i])
		if err != nil {
			return err
		}
		comma := ",\n"
		if i == 0 {
			comma = "\n"
		}
		if _, err := io.WriteString(w, comma+string(line)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// digest returns the canonical digest of the tree.
func (t *tree) digest() (string, error) {
	var d digest
	for _, f := range t.folders {
		if err := d.add("folders", f); err != nil {
			return "", err
		}
	}
	for i := range t.files {
		if err := d.add("files", &t.files[i]); err != nil {
			return "", err
		}
	}
	return d.hex(), nil
}

// readFolderMap reads a folder.json. It trusts nothing in it: Corrupt where it is no tree, Invalid for a later format.
func readFolderMap(r io.Reader) (*folderMap, error) {
	limited := &bound{reader: r, most: maxFolderLine}
	d := &decoder{export: &export{}, json: json.NewDecoder(limited), bound: limited}
	m := &folderMap{}
	err := m.read(d)
	switch {
	case m.format > folderFormat:
		return nil, failure.New(failure.Invalid, "%s has format %d, this lifeboat reads up to %d", folderDocument, m.format, folderFormat).WithHint("use a newer lifeboat")
	case err != nil:
		return nil, failure.New(failure.Corrupt, "read %s: %w", folderDocument, err)
	}
	return m, m.check()
}

func (m *folderMap) read(d *decoder) error {
	err := d.members(folderDocument, func(key string) error {
		d.bound.next()
		switch key {
		case "format":
			err := d.json.Decode(&m.format)
			if err == nil && m.format > folderFormat {
				err = errors.New("its format is too new")
			}
			return err
		case "zipline":
			return d.json.Decode(&m.zipline)
		case "folder":
			return d.json.Decode(&m.id)
		case "path":
			return d.json.Decode(&m.path)
		case "folders":
			return readList(d, &m.folders)
		case "files":
			return readList(d, &m.files)
		}
		return d.skip()
	})
	if err == nil && m.format < 1 {
		err = errors.New("it has no format")
	}
	return err
}

func readList[T any](d *decoder, list *[]T) error {
	token, err := d.token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return errors.New("it holds something else where a list should be")
	}
	for d.json.More() {
		if len(*list) == maxTreeFiles {
			return failure.New(failure.Exhausted, "it lists more than %d", maxTreeFiles)
		}
		var row T
		d.bound.next()
		if err := d.json.Decode(&row); err != nil {
			return err
		}
		*list = append(*list, row)
	}
	_, err = d.token()
	return err
}

// check ties folders and files together, and refuses what is no tree.
func (m *folderMap) check() error {
	bad := func(why string) error {
		return failure.New(failure.Corrupt, "%s is none of lifeboat's: %s", folderDocument, why)
	}
	byID := map[string]*treeFolder{}
	for i, f := range m.folders {
		switch {
		case f == nil || f.ID == "" || byID[f.ID] != nil:
			return bad("a folder has no id of its own")
		case i == 0 && (f.Parent != "" || f.ID != m.id):
			return bad("it does not begin with its folder")
		case i > 0 && byID[f.Parent] == nil:
			return bad("a folder comes before its parent")
		}
		f.order, byID[f.ID] = i, f
	}
	if len(m.folders) == 0 {
		return bad("it lists no folders")
	}
	for i := range m.files {
		f := &m.files[i]
		if f.folder = byID[f.Folder]; f.folder == nil || f.Path == "" || f.Stored == "" {
			return bad("a file lies in no folder of it")
		}
	}
	return nil
}
