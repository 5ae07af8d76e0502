package standin

import (
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// Version is a version of Zipline whose rules a Server follows.
type Version string

// The versions that differ in what concerns a restore.
const (
	V442  Version = "4.4.2" // stored names are imported as they are; ADMINs may export; there is no status
	V463  Version = "4.6.3" // stored names are percent-decoded; the default
	Newer Version = "4.7.0" // the unreleased one: neither; a tag may name files that did not come in; circles are seen
)

// storedName returns the name that an import gives a file's row.
func (v Version) storedName(name string) (string, error) {
	if v == V442 {
		return name, nil
	}
	clean, err := v.sanitize(name)
	if err != nil {
		return "", err
	}
	if clean == "" {
		return newID()[:12], nil
	}
	return clean, nil
}

// sanitize returns a name that may be stored, "" for one that may not, or the exception of a bare percent sign.
func (v Version) sanitize(name string) (string, error) {
	if v == Newer {
		if name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
			return "", nil
		}
		return name, nil
	}
	decoded, err := url.PathUnescape(name)
	if err != nil || !utf8.ValidString(decoded) {
		return "", exception{"URI malformed"}
	}
	clean := path.Clean(decoded) // a/../b is b
	if clean == ".." || strings.ContainsAny(clean, `/\`) || strings.HasSuffix(decoded, "/") {
		return "", nil
	}
	return clean, nil
}
