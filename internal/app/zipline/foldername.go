package zipline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxName bounds one name in the tree, in bytes; file systems take 255, and a number may follow.
	maxName = 200
	// maxFolderPath bounds the path of a folder in the tree, in bytes. What lies deeper is moved up.
	maxFolderPath = 1000
	// unnamed stands for a name of which nothing is left.
	unnamed = "unnamed"
	// maxExtension bounds what counts as the extension of a file, in bytes.
	maxExtension = 20
)

// layOut gives every folder and file of the tree its path in the archive. Equal trees get equal paths, whatever the
// order of the export: within a folder, folders come before files, and older ones before newer ones.
func (t *tree) layOut() {
	used := map[string]*takenNames{"": {next: map[string]int{fold(folderDocument): 2, "lifeboat": 2}}}
	dir := func(path string) *takenNames {
		if used[path] == nil {
			used[path] = &takenNames{next: map[string]int{}}
		}
		return used[path]
	}
	file := 0
	for _, f := range t.folders {
		if f == t.top() {
			f.Path = dir("").free(safe(f.Name, false), false) + "/"
		}
		for _, below := range t.below(f) {
			above := f.Path
			if len(above)+maxName > maxFolderPath {
				above = t.top().Path
				t.found = append(t.found, note("moved", shorten(below.Name), "the folder lies so deep that no file system could hold it: in the archive it lies in %s; %s says where it belongs", above, folderDocument))
			}
			below.Path = above + dir(above).free(safe(below.Name, false), false) + "/"
		}
		for ; file < len(t.files) && t.files[file].folder == f; file++ {
			t.files[file].Path = f.Path + dir(f.Path).free(safe(t.files[file].wanted(), true), true)
		}
	}
}

// below returns the folders whose parent is f. They follow one another.
func (t *tree) below(f *treeFolder) []*treeFolder {
	if t.kids == nil {
		t.kids = map[string][]*treeFolder{}
		for _, child := range t.folders[1:] {
			t.kids[child.Parent] = append(t.kids[child.Parent], child)
		}
	}
	return t.kids[f.ID]
}

// takenNames are those that a directory of the archive has. Names that a file system may take for one are one: those that
// differ in case or normalisation only.
type takenNames struct{ next map[string]int }

// free returns name, or with a number where another one has it: "a (2).txt".
func (n *takenNames) free(name string, file bool) string {
	at := n.next[fold(name)]
	if at == 0 {
		n.next[fold(name)] = 2
		return name
	}
	stem, extension := name, ""
	if file {
		stem, extension = split(name)
	}
	for ; ; at++ {
		numbered := fmt.Sprintf("%s (%d)%s", stem, at, extension)
		if n.next[fold(numbered)] == 0 {
			n.next[fold(name)], n.next[fold(numbered)] = at+1, 2
			return numbered
		}
	}
}

func fold(name string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(name))) }

// split returns a file's name before its extension, and the extension with its dot.
func split(name string) (stem, extension string) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name)-dot > maxExtension {
		return name, ""
	}
	return name[:dot], name[dot:]
}

// safe returns a name that one directory entry can have everywhere: slashes, backslashes, control characters and dots
// or spaces at the end are percent-encoded, "." and ".." with them; a long name is cut and gets a part of its digest.
func safe(name string, file bool) string {
	var b strings.Builder
	last := len(strings.TrimRight(name, ". "))
	for i, c := range name {
		_, size := utf8.DecodeRuneInString(name[i:])
		if i >= last || c == '/' || c == '\\' || unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			for _, octet := range []byte(name[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", octet)
			}
			continue
		}
		b.WriteString(name[i : i+size])
	}
	if name == "" {
		return unnamed
	}
	return cut(b.String(), name, file)
}

// cut shortens an encoded name to maxName bytes, between two characters.
func cut(encoded, name string, file bool) string {
	if len(encoded) <= maxName {
		return encoded
	}
	stem, extension := encoded, ""
	if file {
		stem, extension = split(encoded)
	}
	digest := sha256.Sum256([]byte(name))
	mark := "~" + hex.EncodeToString(digest[:4])
	end := maxName - len(mark) - len(extension)
	for !utf8.RuneStart(stem[end]) {
		end--
	}
	if percent := strings.LastIndexByte(stem[:end], '%'); percent > end-3 && percent >= 0 {
		end = percent // not in the middle of a code
	}
	return stem[:end] + mark + extension
}
