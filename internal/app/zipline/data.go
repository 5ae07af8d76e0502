package zipline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

func (d *decoder) readData(name string) error {
	path := "data." + name
	known := slices.Contains(arrays, name)
	if name == "settings" {
		value, err := d.value()
		if err != nil {
			return err
		}
		d.odd.check(name, path, value, wholeExport)
		return d.digest.add(name, value)
	}
	if !known {
		d.unknown(path)
	}
	token, err := d.token()
	if err != nil {
		return err
	}
	switch {
	case token == json.Delim('['):
		return d.readRows(name, path, known)
	case known:
		return failure.New(failure.Invalid, "%s is not a list", path).
			WithHint("the export is not one of Zipline 4; make one in Zipline's own settings and compare")
	case token == json.Delim('{'):
		return d.readUnknownObject(shorten(name))
	}
	return d.digest.add(shorten(name), token)
}

// readUnknownObject digests the members of an object whose "{" is read, each as a row of its own.
func (d *decoder) readUnknownObject(name string) error {
	d.digest.array(name)
	for d.json.More() {
		key, err := d.token()
		if err != nil {
			return err
		}
		value, err := d.value()
		if err != nil {
			return err
		}
		if err := d.digest.add(name, []any{key, value}); err != nil {
			return err
		}
	}
	_, err := d.token()
	return err
}

func (d *decoder) readRows(name, path string, known bool) error {
	d.digest.array(shorten(name))
	n := int64(0)
	for ; d.json.More(); n++ {
		row, err := d.value()
		if err != nil {
			return err
		}
		if known {
			where := func() string { return label(row, n) }
			d.odd.check(name, path+"[]", row, where)
			object, _ := row.(fields)
			for field, why := range oddValues(name, object) {
				if name == "files" && field == "name" {
					continue // no object can have such a name, as keep says
				}
				d.odd.add(oddity{path: path + "[]." + field, message: why}, where)
			}
			if err := d.keep(name, row); err != nil {
				return err
			}
		}
		if err := d.digest.add(shorten(name), row); err != nil {
			return err
		}
	}
	if known {
		d.counts[name] = n
	}
	_, err := d.token()
	return err
}

// label names a row for the report: by its id, or by its place.
func label(row any, n int64) string {
	if id := text(row, "id"); id != "" {
		return "row " + strconv.Quote(shorten(id))
	}
	return fmt.Sprintf("entry %d", n+1)
}

// keep indexes the rows that name an object, or hands each row on.
func (d *decoder) keep(array string, row any) error {
	if d.each != nil {
		return d.each(array, row)
	}
	key := map[string]string{"files": "name", "thumbnails": "path"}[array]
	object, _ := row.(map[string]any)
	name, ok := object[key].(string)
	if key == "" || !ok {
		return nil // without a name there's nothing to look for; the schema has said so
	}
	switch {
	case !objectName(name) && len(d.badNames) < maxBadNames:
		d.badNames = append(d.badNames, shorten(name))
	case !objectName(name):
		d.badMore++
	default:
		d.index.add(name, sizeOf(object), array == "thumbnails")
	}
	return nil
}

// objectName reports whether a row's name can be the name of an object in Zipline's flat datasource.
func objectName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// sizeOf returns a row's size, or -1 where it has none that is a whole number of bytes.
func sizeOf(object map[string]any) int64 {
	number, ok := object["size"].(json.Number)
	if !ok {
		return -1
	}
	if size, err := number.Int64(); err == nil && size >= 0 {
		return size
	}
	size, err := number.Float64() // such as 5e6
	if err != nil || size < 0 || size > 1<<53 || size != float64(int64(size)) {
		return -1
	}
	return int64(size)
}

// complete refuses an export that lacks a part that every export has.
func (d *decoder) complete(metrics bool) error {
	if err := d.format(); err != nil {
		return err
	}
	for _, name := range arrays {
		if _, ok := d.counts[name]; !ok && (name != "metrics" || metrics) {
			return failure.New(failure.Invalid, "the export has no data.%s", name).
				WithHint("the export is not one of Zipline 4.4.0 or newer, or is cut; run again, then look into Zipline's log")
		}
	}
	if d.digest.arrays["settings"] == nil {
		d.odd.add(oddity{path: "data.settings", message: "is missing"}, wholeExport)
	}
	return nil
}

// findings returns what is odd about the export itself.
func (e *export) findings() []app.Finding {
	found := e.odd.findings()
	for _, name := range e.badNames {
		found = append(found, problem("bad-name", name,
			"the export holds a row with the name %q, which no object can have: it was not looked for; correct or delete the row in Zipline", name))
	}
	if e.badMore > 0 {
		found = append(found, problem("bad-name", "export.json",
			"%d further rows have names that no object can have", e.badMore))
	}
	return found
}
