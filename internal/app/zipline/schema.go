package zipline

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"lifeboat/internal/app"
)

// export4 holds one JSON Schema for each kind of row, under $defs by the name of its array.
//
//go:embed export4.schema.json
var export4 []byte

// rowSchemas returns the compiled schemas of format 4 by name.
var rowSchemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(export4))
	if err != nil {
		panic("the embedded schema is no JSON: " + err.Error())
	}
	const url = "mem:///export4.schema.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, document); err != nil {
		panic(err)
	}
	schemas := map[string]*jsonschema.Schema{}
	for name := range document.(map[string]any)["$defs"].(map[string]any) {
		schemas[name] = compiler.MustCompile(url + "#/$defs/" + name)
	}
	return schemas
})

// maxOddities bounds how many different oddities are told apart: a hostile export could invent a new key per row.
const maxOddities = 1000

// oddity is one way in which rows differ from the schema, at one field path.
type oddity struct {
	path    string // such as data.files[].size
	message string // such as "holds a string where a number is expected"
	unknown bool   // a key that the schema doesn't have
}

// tally is how often an oddity came, and where first. Rows are never kept.
type tally struct {
	rows  int64
	first string // the row's id, quoted, or "entry N"
}

// oddities groups what is odd by field path, so that one change of the format is one finding, not a million.
type oddities struct {
	seen map[oddity]*tally
	more int64 // beyond maxOddities
}

// add notes one oddity of one row; where names the row.
func (o *oddities) add(odd oddity, where func() string) {
	if o.seen == nil {
		o.seen = map[oddity]*tally{}
	}
	t := o.seen[odd]
	switch {
	case t != nil:
		t.rows++
	case len(o.seen) >= maxOddities:
		o.more++
	default:
		o.seen[odd] = &tally{rows: 1, first: where()}
	}
}

// check validates one value against the schema of its name; path is where the value stands.
func (o *oddities) check(name, path string, value any, where func() string) {
	schema := rowSchemas()[name]
	if schema == nil {
		return
	}
	err := schema.Validate(value)
	if err == nil {
		return
	}
	once := map[oddity]bool{} // a row counts once, however many of its entries are odd
	for odd := range leaves(err.(*jsonschema.ValidationError), path) {
		if !once[odd] {
			once[odd] = true
			o.add(odd, where)
		}
	}
}

// wide are the fields whose numbers a database keeps in 32 bits.
var wide = []string{"views", "maxViews", "uses", "maxUses", "maxFiles", "maxUrls"}

// oddValues yields the fields of a row whose values fit the schema, and no import or no database, and why.
func oddValues(array string, row fields) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, name := range wide {
			n, is := row[name].(json.Number)
			if value, err := n.Float64(); is && (err != nil || value != math.Trunc(value) || math.Abs(value) > math.MaxInt32) &&
				!yield(name, "holds a number that no database takes") {
				return
			}
		}
		if _, is := row["size"].(json.Number); array == "files" && is && sizeOf(row) < 0 && !yield("size", "holds no number of bytes") {
			return
		}
		for _, name := range datesIn {
			text, is := row[name].(string)
			if _, ok := parseDate(text); is && !ok && (text != "" || name == "createdAt") && !yield(name, "holds a date that is none") {
				return
			}
		}
		zero := ""
		for name, value := range row {
			if text, is := value.(string); is && strings.ContainsRune(text, 0) && (zero == "" || name < zero) {
				zero = name
			}
		}
		if zero != "" {
			yield(shorten(zero), "holds a zero byte")
		}
	}
}

// leaves yields what is odd in a validation error. No value of the row is repeated: it may be a secret.
func leaves(err *jsonschema.ValidationError, path string) func(yield func(oddity) bool) {
	return func(yield func(oddity) bool) { walkLeaves(err, path, yield) }
}

func walkLeaves(err *jsonschema.ValidationError, path string, yield func(oddity) bool) bool {
	for _, cause := range err.Causes {
		if !walkLeaves(cause, path, yield) {
			return false
		}
	}
	if len(err.Causes) > 0 {
		return true
	}
	at := path + fieldPath(err.InstanceLocation)
	switch k := err.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			if !yield(oddity{path: at + "." + shorten(key), unknown: true}) {
				return false
			}
		}
		return true
	case *kind.Required:
		for _, key := range k.Missing {
			if !yield(oddity{path: at + "." + key, message: "is missing"}) {
				return false
			}
		}
		return true
	case *kind.Type:
		return yield(oddity{path: at, message: fmt.Sprintf("holds a value of type %s where %s is expected", k.Got, strings.Join(k.Want, " or "))})
	case *kind.Enum:
		return yield(oddity{path: at, message: fmt.Sprintf("holds something else than %v", k.Want)})
	}
	return yield(oddity{path: at, message: "is not as the format says"})
}

// fieldPath writes a location without the numbers of array entries.
func fieldPath(location []string) string {
	var b strings.Builder
	for _, part := range location {
		if _, err := strconv.Atoi(part); err == nil {
			b.WriteString("[]")
		} else {
			b.WriteString("." + shorten(part))
		}
	}
	return b.String()
}

// shorten bounds a stranger's word in a message.
func shorten(word string) string { return clip(word, 100) }

func clip(word string, most int) string {
	if len(word) <= most {
		return word
	}
	return strings.ToValidUTF8(word[:most], "") + "…"
}

// findings returns one finding per oddity, in the order of the paths.
func (o *oddities) findings() []app.Finding {
	keys := make([]oddity, 0, len(o.seen))
	for odd := range o.seen {
		keys = append(keys, odd)
	}
	slices.SortFunc(keys, func(a, b oddity) int {
		return strings.Compare(a.path+"\x00"+a.message, b.path+"\x00"+b.message)
	})
	var found []app.Finding
	for _, odd := range keys {
		t := o.seen[odd]
		if odd.unknown {
			found = append(found, note("unknown-key", odd.path,
				"this version of lifeboat doesn't know the key; it is kept (%s, first in %s)", rows(t.rows), t.first))
			continue
		}
		found = append(found, problem("schema", odd.path,
			"it %s in %s, first in %s; the export is kept as it came, but Zipline's importer may refuse it", odd.message, rows(t.rows), t.first))
	}
	if o.more > 0 {
		found = append(found, problem("schema", "export.json",
			"%d further differences from the format were not told apart: is this an export of Zipline?", o.more))
	}
	return found
}

func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// maxItem bounds the item of a finding, in bytes; names are far shorter, keys of a bucket need not be.
const maxItem = 1024

func note(kind, item, format string, args ...any) app.Finding {
	return finding(app.Note, kind, item, format, args)
}

func problem(kind, item, format string, args ...any) app.Finding {
	return finding(app.Problem, kind, item, format, args)
}

func finding(severity app.Severity, kind, item, format string, args []any) app.Finding {
	return app.Finding{Severity: severity, Kind: kind, Item: clip(item, maxItem), Message: fmt.Sprintf(format, args...)}
}
