package notify

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/plain"
)

// Bounds of what a mail shows, in characters or rows.
const (
	maxProblems = 10
	maxCounts   = 20
	maxName     = 120
	maxSentence = 300
	maxReason   = 100 // in the subject
	maxVolumes  = 5
)

// content is a mail in words. Its strings are safe to show (plain.Text); the HTML template escapes them once more.
type content struct {
	Subject  string
	Status   backup.Status
	Badge    string
	Lead     string
	Proof    string
	Reason   string // why the run failed
	Hint     string
	Problems []problem
	More     string // sentence about problems that are not shown
	Notes    string
	Rows     []row
	Tables   []table
	Link     *button
	Serve    bool   // tell how to get a link
	Unmade   string // why there is no archive, and who makes one
	Commands []command
	Why      []string
	ID       string
	Sort     string // what ID is the id of
	Program  string
}

type problem struct{ Kind, Item, Message string }

type row struct{ Label, Value, Full string } // Full is for the text part

type button struct{ URL, Expires, Code, Renew string }

type command struct{ What, Line string }

// Subject returns the subject: status, source and time in its first 60 characters.
func (m Message) Subject() string {
	r := m.Record
	parts := []string{size(r, m.Previous)}
	switch r.Status {
	case backup.Completed:
		parts = append(parts, "proven: "+proofWord(r.Proof))
	case backup.Partial:
		parts = slices.Insert(parts, 0, plain.Count(int64(r.ProblemsTotal), "problem"))
	default:
		parts = []string{reason(r, maxReason)}
	}
	subject := fmt.Sprintf("[%s] %s backup %s — %s", badge(r.Status), plain.Short(string(r.Source), maxName),
		shortTime(started(r), m.Zone), strings.Join(parts, ", "))
	return prefixed(m.Prefix, subject)
}

func badge(status backup.Status) string {
	if status == backup.Completed {
		return "ok"
	}
	return strings.ToUpper(plain.Short(string(status), 20))
}

func proofWord(p backup.Proof) string {
	if p == backup.Unproven {
		return "not yet"
	}
	return plain.Short(string(p), 20)
}

// size says how much a backup holds, and how much more than the one before.
func size(r catalog.Record, previous *catalog.Record) string {
	change := "first"
	if previous != nil {
		change = plain.Change(r.Bytes - previous.Bytes)
	}
	return fmt.Sprintf("%s, %s (%s)", plain.Count(int64(r.Objects), "object"), plain.Size(r.Bytes), change)
}

func reason(r catalog.Record, limit int) string {
	switch {
	case r.Failure != nil && r.Failure.Message != "":
		return plain.Short(r.Failure.Message, limit)
	case r.Status == backup.Canceled:
		return "somebody stopped it"
	}
	return "no reason was recorded"
}

func started(r catalog.Record) time.Time {
	if r.Started.IsZero() {
		return r.ID.Time()
	}
	return r.Started
}

// zone returns the zone that people read times in.
func zone(z *time.Location) *time.Location {
	if z == nil {
		return time.UTC
	}
	return z
}

func shortTime(t time.Time, z *time.Location) string {
	return t.In(zone(z)).Format("2006-01-02 15:04 MST")
}

// fullTime adds UTC where people live elsewhere.
func fullTime(t time.Time, z *time.Location) string {
	local, utc := t.In(zone(z)), t.UTC()
	text := shortTime(t, z)
	switch {
	case local.Format("15:04 MST") == utc.Format("15:04 MST"):
		return text
	case local.Format(time.DateOnly) == utc.Format(time.DateOnly):
		return text + utc.Format(" (15:04 UTC)")
	}
	return text + utc.Format(" (2006-01-02 15:04 UTC)")
}

func (m Message) content() content {
	r := m.Record
	c := content{
		Subject: m.Subject(), Status: r.Status, Badge: badge(r.Status), Lead: m.lead(),
		Rows: m.rows(), Commands: m.commands(), Why: m.why(), ID: string(r.ID), Sort: "run", Program: "lifeboat " + plain.Short(m.Version, 40),
	}
	if r.Status.Good() {
		c.Proof = proofSentence(r)
		c.Unmade = unmade(r)
		c.Link, c.Serve = m.button(), m.Link.URL == "" && c.Unmade == ""
	} else {
		c.Reason = reason(r, maxSentence)
		c.Proof = m.lastGood()
	}
	if r.Failure != nil {
		c.Hint = plain.Short(r.Failure.Hint, maxSentence)
	}
	c.found(r.Problems, max(r.ProblemsTotal, len(r.Problems)), max(r.NotesTotal, len(r.Notes)), "nothing to do about", "lifeboat show "+string(r.ID))
	return c
}

// found says how many problems and notes there are, and the first problems; about says what the notes are about, and see
// is the command that shows all of them.
func (c *content) found(first []app.Finding, problems, notes int, about, see string) {
	for _, f := range first[:min(len(first), maxProblems)] {
		c.Problems = append(c.Problems, problem{plain.Short(f.Kind, 40), plain.Short(f.Item, maxName), plain.Short(f.Message, maxSentence)})
	}
	c.More = further(problems-len(c.Problems), see)
	if notes > 0 {
		c.Notes = fmt.Sprintf("%s, %s: %s", plain.Count(int64(notes), "note"), about, see)
	}
}

// further says that there are n more, and what shows them; "" where there are none.
func further(n int, see string) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%s more: %s", plain.Number(int64(n)), see)
}

// lead is the first line: what, when, result.
func (m Message) lead() string {
	r := m.Record
	what := string(r.Source)
	if name := application(r); name != "" {
		what += " (" + name + ")"
	}
	what = fmt.Sprintf("%s, backup of %s: ", what, fullTime(started(r), m.Zone))
	holds := fmt.Sprintf("%s and %s, %s", plain.Count(int64(r.Documents), "document"),
		plain.Count(int64(r.Objects), "object"), plain.Size(r.Bytes))
	switch r.Status {
	case backup.Completed:
		return what + "complete. It holds " + holds + "."
	case backup.Partial:
		return what + "partial, with " + plain.Count(int64(r.ProblemsTotal), "problem") + ". It holds " + holds + "."
	case backup.Canceled:
		return what + "canceled. It cannot be restored."
	}
	return what + plain.Short(string(r.Status), 20) + ". It cannot be restored."
}

func application(r catalog.Record) string {
	return plain.Short(strings.TrimSpace(r.Facts.Application+" "+r.Facts.Version), maxName)
}

func proofSentence(r catalog.Record) string {
	switch r.Proof {
	case backup.Stored:
		if unmade(r) != "" {
			return "Proven (stored): the store took every pack with its checksum, and has all of them."
		}
		return "Proven (stored): the store's own checksum of the archive equals the one derived from its pieces."
	case backup.ReRead:
		return "Proven (re-read): every byte was read again and matched."
	case backup.Drilled:
		return "Proven (drilled): it was restored into a throw-away target and compared."
	}
	return "Not proven yet: nothing has checked the stored bytes."
}

// unmade says why a good backup has no archive, and how to get it; "" where it has one.
func unmade(r catalog.Record) string {
	switch {
	case len(r.Archive.Files()) > 0:
		return ""
	case !r.Archive.Expired.IsZero():
		return fmt.Sprintf("The archive expired on %s. On the machine that runs lifeboat, \"lifeboat archive %s\" makes it again; "+
			"then \"lifeboat link %s\" prints a link to it.", r.Archive.Expired.UTC().Format(time.DateOnly), r.ID, r.ID)
	}
	return fmt.Sprintf("No archive is kept: it is made on demand. On the machine that runs lifeboat, \"lifeboat archive %s\" makes it; "+
		"then \"lifeboat link %s\" prints a link to it.", r.ID, r.ID)
}

func (m Message) lastGood() string {
	if m.Previous == nil {
		return "There is no earlier good backup of this source with the same scope."
	}
	return fmt.Sprintf("The newest good backup is that of %s, %s.", fullTime(started(*m.Previous), m.Zone), m.Previous.ID)
}

func (m Message) rows() []row {
	r := m.Record
	var rows []row
	add := func(label, value, full string) {
		if value != "" {
			rows = append(rows, row{label, value, full})
		}
	}
	add("Application", application(r), "")
	if r.Status.Good() {
		add("Contents", plain.Counts(r.Facts.Counts, maxCounts), "")
		add("Files", fmt.Sprintf("%s, %s", plain.Count(int64(r.Documents), "document"), plain.Count(int64(r.Objects), "object")), "")
		add("Size", plain.ExactSize(r.Bytes), "")
		add("Change", m.change(), "")
		add("Written now", fmt.Sprintf("%s, %s", plain.Count(int64(r.PackedObjects), "object"), plain.Size(r.PackedBytes)), "")
	}
	if !r.Finished.IsZero() {
		add("Duration", plain.Duration(r.Finished.Sub(started(r))), "")
	}
	if r.Scope != (backup.Scope{}) {
		add("Scope", plain.Short(r.Scope.String(), maxName), "")
	}
	if r.Status.Good() {
		rows = append(rows, archiveRows(r)...)
	}
	return rows
}

func archiveRows(r catalog.Record) []row {
	rows := fileRows(r)
	if sum := plain.Short(r.Manifest.SHA256, 80); sum != "" {
		rows = append(rows, row{"Manifest", fmt.Sprintf("%s, SHA-256 %s", plain.Count(int64(r.Manifest.Entries), "file"),
			plain.Short(sum, 17)), fmt.Sprintf("%s, SHA-256 %s", plain.Count(int64(r.Manifest.Entries), "file"), sum)})
	}
	secrets := "no"
	if r.Secrets {
		secrets = "yes: passwords, tokens or keys are in it"
	}
	return append(rows, row{"Secrets", secrets, ""})
}

// fileRows names the archive, or the first of its volumes.
func fileRows(r catalog.Record) []row {
	files := r.Archive.Files()
	describe := func(f catalog.Volume) string {
		return fmt.Sprintf("%s-%s, %s, CRC-32 %s", r.Source, path.Base(f.Key), plain.ExactSize(f.Bytes), plain.Short(f.CRC32, 20))
	}
	switch {
	case len(files) == 0 && !r.Archive.Expired.IsZero():
		return []row{{"Archive", fmt.Sprintf("expired on %s (lifeboat archive %s)", r.Archive.Expired.UTC().Format(time.DateOnly), r.ID), ""}}
	case len(files) == 0:
		return []row{{"Archive", fmt.Sprintf("made on demand (lifeboat archive %s)", r.ID), ""}}
	case len(files) == 1:
		return []row{{"Archive", describe(files[0]), ""}}
	}
	rows := []row{{"Archive", fmt.Sprintf("%s, %s", plain.Count(int64(len(files)), "volume"), plain.ExactSize(r.Archive.Bytes)), ""}}
	for i, f := range files[:min(len(files), maxVolumes)] {
		rows = append(rows, row{fmt.Sprintf("Volume %d", i+1), describe(f), ""})
	}
	if more := further(len(files)-maxVolumes, "lifeboat show "+string(r.ID)); more != "" {
		rows = append(rows, row{"Volumes", more, ""})
	}
	return rows
}

// change compares with the good record before.
func (m Message) change() string {
	p := m.Previous
	if p == nil {
		return "the first good backup"
	}
	return fmt.Sprintf("%s, %+d objects since %s", plain.Change(m.Record.Bytes-p.Bytes), m.Record.Objects-p.Objects,
		shortTime(started(*p), m.Zone))
}

func (m Message) button() *button {
	if m.Link.URL == "" || unmade(m.Record) != "" {
		return nil
	}
	b := &button{
		URL:     m.Link.URL,
		Expires: "The link works until " + fullTime(m.Link.Expires, m.Zone) + ".",
		Renew:   fmt.Sprintf("lifeboat link %s makes a new one.", m.Record.ID),
	}
	if m.Link.NeedsCode {
		b.Code = fmt.Sprintf("The archive holds secrets, so the page asks for a code: lifeboat link %s shows it.", m.Record.ID)
	}
	return b
}

func (m Message) commands() []command {
	id := m.Record.ID
	if !m.Record.Status.Good() {
		list := []command{{"See what happened", fmt.Sprintf("lifeboat show %s", id)}}
		if m.Previous != nil {
			list = append(list, command{"Restore the newest good backup", fmt.Sprintf("lifeboat restore %s --to dir:./restored", m.Previous.ID)})
		}
		return list
	}
	return []command{
		{"Verify", fmt.Sprintf("lifeboat verify %s", id)},
		{"Restore", fmt.Sprintf("lifeboat restore %s --to dir:./restored", id)},
	}
}

func (m Message) why() []string {
	lines := []string{
		fmt.Sprintf("You get this because notify in lifeboat.yaml names you for the source %s. The run was started %s.",
			m.Record.Source, starter(m.Record.StartedBy)),
		"notify: {on: problem} there keeps mail to trouble.",
	}
	if m.Record.Status.Good() && m.button() != nil {
		lines = append(lines, fmt.Sprintf("If nobody should have the archive: lifeboat unlink %s withdraws the link.", m.Record.ID))
	}
	return lines
}

func starter(s catalog.Starter) string {
	by := map[string]string{"person": "by a person", "schedule": "by a schedule", "api": "through the API", "demo": "by the demo"}[s.By]
	if by == "" {
		by = "by " + plain.Short(s.By, 40)
	}
	if who := plain.Short(s.Who, maxName); who != "" {
		by += " (" + who + ")"
	}
	return by
}
