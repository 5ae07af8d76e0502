package zipline

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"lifeboat/internal/failure"
)

const (
	// maxRow bounds one row of an export. The largest rows are users with an inline avatar.
	maxRow = 64 << 20
	// maxBadNames bounds how many bad names of rows are kept for the report.
	maxBadNames = 1000
)

// arrays are the arrays of data that an export of format 4 always has.
var arrays = []string{
	"users", "userPasskeys", "userQuotas", "userOauthProviders", "userTags", "invites", "folders", "urls", "files",
	"thumbnails", "metrics",
}

// export is what is kept of an export while it streams by.
type export struct {
	versions struct{ zipline, node, export string }
	date     time.Time // when Zipline made it, by Zipline's clock; zero if it doesn't say
	counts   map[string]int64
	index    rowIndex
	badNames []string // names of rows that can't be the name of an object
	badMore  int64    // beyond maxBadNames
	odd      oddities
	digest   digest
}

// decoder reads an export token by token and row by row; nothing but one row is in memory.
type decoder struct {
	*export
	json  *json.Decoder
	bound *bound
	// each, where it is set, gets every row of a known array; no index is kept then. An error ends the reading.
	each func(array string, row any) error
}

// readExport reads one export to its end. Its errors are Invalid, with a hint, or those of r. Metrics says that
// the export was asked for with its metrics.
func readExport(r io.Reader, metrics bool) (*export, error) { return readWith(r, metrics, maxRow, nil) }

// readWith is readExport with another bound of one value, in bytes, that hands each row on.
func readWith(r io.Reader, metrics bool, most int64, each func(array string, row any) error) (*export, error) {
	limited := &bound{reader: r, most: most}
	d := &decoder{
		export: &export{counts: map[string]int64{}},
		json:   json.NewDecoder(limited), bound: limited, each: each,
	}
	d.json.UseNumber()
	if err := d.document(); err != nil {
		return nil, d.explain(err)
	}
	if err := d.complete(metrics); err != nil {
		return nil, err
	}
	d.index.sort()
	return d.export, nil
}

// bound ends with an error when one value takes more than most bytes; next starts a new value.
type bound struct {
	reader io.Reader
	most   int64
	taken  int64
}

var errLargeValue = errors.New("the value is too large")

func (b *bound) next() { b.taken = 0 }

func (b *bound) Read(p []byte) (int, error) {
	if b.taken > b.most {
		return 0, errLargeValue
	}
	n, err := b.reader.Read(p[:min(len(p), 64<<10)]) // reading ahead counts for the next value, so keep it short
	b.taken += int64(n)
	return n, err
}

// explain turns an error of the JSON decoder into one that says what to do.
func (d *decoder) explain(err error) error {
	var syntax *json.SyntaxError
	var kinded *failure.Error
	switch {
	case errors.As(err, &kinded):
		return err
	case errors.Is(err, errLargeValue):
		return failure.New(failure.Invalid, "the export holds one value of more than %d MiB, near byte %d", d.bound.most>>20, d.json.InputOffset()).
			WithHint("look for an oversized avatar in Zipline's users, and make it smaller")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failure.New(failure.Invalid, "the export ends in the middle, after %d bytes", d.json.InputOffset()).
			WithHint("run again; if it stays so, look for a proxy in front of Zipline that limits the size of answers, and into Zipline's log")
	case errors.As(err, &syntax):
		return failure.New(failure.Invalid, "the export is no valid JSON: %v at byte %d", err, syntax.Offset).
			WithHint("open %s on the server in a browser, signed in as SUPERADMIN, and see what it answers", exportPath)
	}
	return err
}

// members calls each for every key of the object that comes next.
func (d *decoder) members(what string, each func(key string) error) error {
	token, err := d.token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return failure.New(failure.Invalid, "%s is not a JSON object", what).
			WithHint("check that the url in the settings is that of Zipline itself, without a path")
	}
	seen := map[string]bool{}
	for d.json.More() {
		token, err := d.token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if seen[key] {
			return failure.New(failure.Invalid, "%s holds the key %q twice", what, shorten(key))
		}
		if seen[key] = true; len(seen) > maxOddities {
			return failure.New(failure.Invalid, "%s holds more than %d keys", what, maxOddities).
				WithHint("check that the url in the settings is that of Zipline itself")
		}
		if err := each(key); err != nil {
			return err
		}
	}
	_, err = d.token()
	return err
}

func (d *decoder) token() (json.Token, error) {
	d.bound.next()
	return d.json.Token()
}

func (d *decoder) value() (any, error) {
	d.bound.next()
	var value any
	err := d.json.Decode(&value)
	return value, err
}

func (d *decoder) document() error {
	err := d.members("the export", func(key string) error {
		switch key {
		case "versions":
			return d.readVersions()
		case "request":
			return d.readRequest()
		case "data":
			return d.members("data", d.readData)
		}
		d.unknown(key)
		return d.skip()
	})
	if err != nil {
		return err
	}
	if _, err := d.token(); err != io.EOF {
		return failure.New(failure.Invalid, "the export goes on after its end, at byte %d", d.json.InputOffset())
	}
	return nil
}

func (d *decoder) unknown(path string) {
	d.odd.add(oddity{path: shorten(path), unknown: true}, func() string { return "the export" })
}

// skip reads over one value of any size, as long as no part of it is too large.
func (d *decoder) skip() error {
	for depth := 0; ; {
		token, err := d.token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func (d *decoder) readVersions() error {
	value, err := d.value()
	if err != nil {
		return err
	}
	d.odd.check("versions", "versions", value, wholeExport)
	d.versions.zipline, d.versions.node = text(value, "zipline"), text(value, "node")
	d.versions.export = text(value, "export")
	return d.format()
}

func wholeExport() string { return "the export" }

// format refuses every version of the export but 4.
func (d *decoder) format() error {
	switch version := d.versions.export; version {
	case "4":
		return nil
	case "3":
		return failure.New(failure.Invalid, "this is an export of Zipline 3 (format 3); lifeboat reads format 4").
			WithHint("move the instance to Zipline 4.4.0 or newer first: its importer reads exports of Zipline 3")
	case "":
		return failure.New(failure.Invalid, "the export doesn't say which format it has").
			WithHint("check that the url in the settings is that of Zipline 4.4.0 or newer")
	default:
		return failure.New(failure.Invalid, "the export has the format %q; lifeboat reads format 4", shorten(version)).
			WithHint("look for a newer lifeboat that knows this format")
	}
}

// text returns a string or number member of an object as text, or "".
func text(value any, key string) string {
	object, _ := value.(map[string]any)
	switch v := object[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (d *decoder) readRequest() error {
	value, err := d.value()
	if err != nil {
		return err
	}
	d.odd.check("request", "request", value, wholeExport)
	d.date, _ = time.Parse(time.RFC3339Nano, text(value, "date"))
	return nil
}
