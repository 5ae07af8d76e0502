package zipline

import (
	"context"
	"fmt"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// plan is what a preflight settled: under which names everything comes in. It is noted before the first write and
// doesn't change once an import has begun, because "made by this restore" means "has a name of the plan, its date, and no
// id that the target had before".
type plan struct {
	Admin   person            `json:"admin"`             // the importing administrator
	Merge   string            `json:"merge,omitempty"`   // id, in the backup, of the user whose things Admin gets
	Users   map[string]string `json:"users,omitempty"`   // id in the backup to the name on the target, where it differs
	Tags    map[string]string `json:"tags,omitempty"`    // name to name
	Codes   map[string]string `json:"codes,omitempty"`   // of URLs
	Twins   map[string]string `json:"twins,omitempty"`   // array/id of a row, whose name or code another one of the backup has, to its own
	Vanity  map[string]string `json:"vanity,omitempty"`  // of URLs
	Invites map[string]string `json:"invites,omitempty"` // code to code
	Files   map[string]string `json:"files,omitempty"`   // stored name to stored name
	Passkey map[string]string `json:"passkey,omitempty"` // id to name
	Sent    map[string]string `json:"sent,omitempty"`    // id of a folder to the name that it is imported under
	Cut     map[string]bool   `json:"cut,omitempty"`     // ids of folders that come in without their parent
	Left    map[string]bool   `json:"left,omitempty"`    // rows that don't come in, as array/id
	Undated map[string]bool   `json:"undated,omitempty"` // rows that come in with unknownDate, as array/id
	Orphans map[string]bool   `json:"orphans,omitempty"` // objects without a row whose name a row of the target has
	// Exists are the keys of rows that the target had before the first import, as they are in the backup.
	Exists hashes `json:"exists,omitempty"`
	// Had are hashes of the ids of rows that the target had when the plan was made, and that are called like one of the
	// plan, as in the backup or not: they are never taken back.
	Had     hashes `json:"had,omitempty"`
	Metrics bool   `json:"metrics"` // the target had none

	Ignored *ignored `json:"ignored,omitempty"` // not nil: the backup is of Zipline 3

	Keeps bool `json:"keeps"` // the administrator gets things that are nobody's

	exists map[uint64]bool
	chosen *objects        // of the backup; not noted, read anew
	fixed  map[string]bool // names of users whose things an import skips; not noted
	stages *stages         // of the restore; not noted here
	again  bool            // users were taken back, and objects may be gone with them; not noted
}

const (
	planNote   = "plan"
	importNote = "import"
)

// importing is the note of the imports of a restore.
type importing struct {
	Begun    bool `json:"begun"`    // at least one import was sent
	Answered bool `json:"answered"` // and its answer arrived: all is in that will ever come in by it
	Tries    int  `json:"tries"`    // imports of this attempt
	Stumbled bool `json:"stumbled"` // the last one ended with an error of Zipline's own
	Metrics  bool `json:"metrics"`  // an import of the metrics was sent
	Measured bool `json:"measured"` // and its answer arrived
	// Sent is when the last import was sent; Lost is set until it is known how that ended.
	Sent time.Time `json:"sent,omitzero"`
	Lost bool      `json:"lost,omitzero"`
	// Ended is when the last answer of an import arrived.
	Ended time.Time `json:"ended,omitzero"`
	// Stand is how far an import came that stumbled: the rows that are in, by array. Stood is set where it was the last
	// one; else it was one before.
	Stand []int64 `json:"stand,omitempty"`
	Stood bool    `json:"stood,omitzero"`
	// Vanities are names of URLs that the last import may have stumbled over.
	Vanities []string `json:"vanities,omitempty"`
}

// maxTries is how often one attempt of a restore imports, before it leaves what is in as it is.
const maxTries = 3

func newPlan(me person, chosen *objects) *plan {
	p := &plan{Admin: me, chosen: chosen}
	p.ready()
	return p
}

// ready makes what a note leaves out.
func (p *plan) ready() {
	for _, m := range []*map[string]string{&p.Users, &p.Tags, &p.Codes, &p.Twins, &p.Vanity, &p.Invites, &p.Files, &p.Passkey, &p.Sent} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	for _, m := range []*map[string]bool{&p.Cut, &p.Left, &p.Undated, &p.Orphans} {
		if *m == nil {
			*m = map[string]bool{}
		}
	}
	p.exists = map[uint64]bool{}
	for _, key := range p.Exists {
		p.exists[key] = true
	}
	p.Had.sort()
}

// had reports whether the target had a row when the plan was made.
func (p *plan) had(array, id string) bool { return p.Had.has(hadDigest(array, id)) }

// owner returns the name that a user of the backup has on the target; whoever is nobody there is the administrator.
func (p *plan) owner(users map[string]user, id any) string {
	text, _ := id.(string)
	u, known := users[text]
	switch {
	case !known || text == p.Merge:
		return p.Admin.Username
	case p.Users[text] != "":
		return p.Users[text]
	}
	return u.name
}

// renames are the keys of the rows that the plan can rename, by array, and where the new names stand.
func (p *plan) renames(array string) (field string, names map[string]string) {
	switch array {
	case "userTags":
		return "name", p.Tags
	case "urls":
		return "code", p.Codes
	case "invites":
		return "code", p.Invites
	case "files":
		return "name", p.Files
	}
	return "", nil
}

// change gives a row of the backup the names that it has on the target in the end; false: it doesn't come in.
func (p *plan) change(array string, row fields) bool {
	id, _ := row["id"].(string)
	if p.Left[array+"/"+id] {
		return false
	}
	settleDates(row)
	if field, names := p.renames(array); field != "" {
		name, _ := row[field].(string)
		if array == "files" && p.chosen.leftOut(name) {
			return false
		}
		if other := names[name]; other != "" {
			row[field] = other
		}
		if other := p.Twins[array+"/"+id]; other != "" {
			row[field] = other
		}
	}
	switch array {
	case "users":
		if name := p.Users[id]; name != "" {
			row["username"] = name
		}
		if id == p.Merge {
			row["username"] = p.Admin.Username
		}
	case "urls":
		vanity, _ := row["vanity"].(string)
		if other := p.Vanity[vanity]; vanity != "" && other != "" {
			row["vanity"] = other
		}
	case "userPasskeys":
		if name := p.Passkey[id]; name != "" {
			row["name"] = name
		}
	case "folders":
		if p.Cut[id] {
			row["parentId"] = nil
		}
	}
	return true
}

// objects are those of the backup: which are there, how large, and which of them a filter leaves out.
type objects struct {
	known map[uint64]int64 // hash of the key to the size, or to -1-size where it is left out
	all   bool             // no filter: the restore is of documents only
}

func readObjects(ctx context.Context, r *app.Replay) (*objects, error) {
	o := &objects{known: map[uint64]int64{}, all: !r.Wishes.Objects}
	for item, err := range r.Items(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list the backup: %w", err)
		}
		if item.Document || item.Dir || item.Key == "" {
			continue
		}
		size := item.Size
		if !item.Chosen {
			size = -1 - size
		}
		o.known[digestOf("object", item.Key)] = size
	}
	return o, nil
}

// leftOut reports whether a filter leaves the object of a name out.
func (o *objects) leftOut(name string) bool {
	size, there := o.known[digestOf("object", name)]
	return there && size < 0 && !o.all
}

// size returns the size of an object in the backup; false where it has none.
func (o *objects) size(name string) (int64, bool) {
	size, there := o.known[digestOf("object", name)]
	if size < 0 {
		size = -1 - size
	}
	return size, there
}

// loadPlan reads the plan that the preflight has noted.
func loadPlan(ctx context.Context, r *app.Replay) (*plan, error) {
	var p plan
	there, err := r.Notes.Get(ctx, planNote, &p)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the plan of this restore: %w", err)
	case !there:
		return nil, failure.New(failure.Internal, "the preflight of this restore has left no plan")
	}
	if p.chosen, err = readObjects(ctx, r); err != nil {
		return nil, err
	}
	p.ready()
	return &p, nil
}

// numbered returns name, or the first of name (2), name (3), … that is free, put together by form.
func numbered(name string, form func(string, int) string, free func(string) bool) string {
	for n := 2; ; n++ {
		if other := form(name, n); free(other) {
			return other
		}
	}
}

func bracketed(name string, n int) string { return fmt.Sprintf("%s (%d)", name, n) }
func dashed(name string, n int) string    { return fmt.Sprintf("%s-%d", name, n) }

// beforeDot numbers the name of a file, before its extension.
func beforeDot(name string, n int) string {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return dashed(name, n)
	}
	return dashed(name[:dot], n) + name[dot:]
}
