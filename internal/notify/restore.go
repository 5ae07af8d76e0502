package notify

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// RestoreMessage is everything that one mail about a restore says. All text in the record counts as a stranger's.
type RestoreMessage struct {
	Record  catalog.Restore // with its final status
	For     string          // whose notify names the recipient: "target photos-new", "source photos"
	Prefix  string          // of the subject, at most 60 characters; may be empty
	From    string          // one RFC 5322 address
	ReplyTo string          // one RFC 5322 address, or empty
	To      string          // one RFC 5322 address
	Zone    *time.Location  // that people read times in, beside UTC; UTC when nil
	Date    time.Time       // of the mail; the end of the restore when zero
	Version string          // of the program that sends
}

// Bounds of what a mail about a restore shows, in characters or rows.
const (
	maxSteps    = 20
	maxAsserted = 10
	maxOrigin   = 24 // in the subject: with the status before it and the time behind it within 60
	maxPlace    = 60 // in the subject
)

func (m RestoreMessage) run() backup.ID        { return backup.ID(m.Record.ID) }
func (m RestoreMessage) status() backup.Status { return m.Record.Status }

func (m RestoreMessage) to(r Recipient, now time.Time) Letter {
	m.To = r.Address
	if m.Date.IsZero() {
		m.Date = now
	}
	return m
}

// draft returns the mail with its defaults. Each attempt of a restore has a mail of its own.
func (m RestoreMessage) draft() (draft, error) {
	if _, err := backup.ParseRestoreID(string(m.Record.ID)); err != nil {
		return draft{}, err
	}
	if m.Record.Attempt < 1 {
		return draft{}, failure.New(failure.Internal, "the record of the restore %s counts no attempt", m.Record.ID)
	}
	d := draft{
		run: m.run(), name: fmt.Sprintf("restore-%d", m.Record.Attempt), prefix: m.Prefix, from: m.From, replyTo: m.ReplyTo,
		recipient: m.To, date: m.Date, zone: m.Zone, content: m.content(),
		list: "lifeboat restores <restores.lifeboat.", thread: fmt.Sprintf("lifeboat.restore.%s", m.Record.ID),
	}
	if d.date.IsZero() {
		d.date = m.Record.Finished
	}
	return d, d.check()
}

// Subject returns the subject: status, origin and time in its first 60 characters.
func (m RestoreMessage) Subject() string {
	r := m.Record
	result := restoreReason(r, maxReason)
	if r.Status.Good() {
		result = written(r.Put)
	}
	if r.Status == backup.Partial {
		result = plain.Count(int64(r.ProblemsTotal), "problem") + ", " + result
	}
	what, into := "restore", "into "+plain.Short(r.Target, maxPlace)+": "
	if r.Drill {
		what, into = "drill", ""
	}
	return prefixed(m.Prefix, fmt.Sprintf("[%s] %s %s %s — %s%s", badge(r.Status), origin(r.From), what,
		shortTime(r.Started, m.Zone), into, result))
}

// origin names in a few characters what is restored.
func origin(from catalog.Origin) string {
	name := string(from.Source)
	u, err := url.Parse(from.URL)
	switch {
	case name != "":
		return plain.Short(name, maxName)
	case from.URL != "" && err == nil:
		name = u.Host
	case from.File != "":
		name = path.Base(from.File)
	default:
		name = string(from.Backup)
	}
	return plain.Short(name, maxOrigin)
}

// written sums up what became of the files.
func written(p catalog.Put) string {
	text := "no file"
	if p.Written > 0 {
		text = fmt.Sprintf("%s, %s", plain.Count(int64(p.Written), "file"), plain.Size(p.Bytes))
	}
	if p.Existing > 0 {
		text += fmt.Sprintf(" (%s there already)", plain.Number(int64(p.Existing)))
	}
	return text
}

func restoreReason(r catalog.Restore, limit int) string {
	return reason(catalog.Record{Status: r.Status, Failure: discreetly(r.Failure)}, limit)
}

func (m RestoreMessage) content() content {
	r := m.Record
	c := content{
		Subject: m.Subject(), Status: r.Status, Badge: badge(r.Status), Lead: m.lead(),
		Tables: m.tables(), Rows: m.rows(), Commands: m.commands(), Why: m.why(),
		ID: string(r.ID), Sort: "restore", Program: "lifeboat " + plain.Short(m.Version, 40),
	}
	if r.Status.Good() {
		c.Proof = checkSentence(r)
	} else {
		c.Reason, c.Proof = restoreReason(r, maxSentence), remains(r)
	}
	if why := discreetly(r.Failure); why != nil {
		c.Hint = plain.Short(why.Hint, maxSentence)
	}
	c.found(discreet(r.Problems), max(r.ProblemsTotal, len(r.Problems)), max(r.NotesTotal, len(r.Notes)),
		"of what was renamed, left out or tolerated", see(r))
	return c
}

// lead is the first line: what, where to, when, result.
func (m RestoreMessage) lead() string {
	r := m.Record
	what := fmt.Sprintf("%s, restore into %s at %s: ", source(r.From), destination(r), fullTime(r.Started, m.Zone))
	switch {
	case r.DryRun && r.Status.Good():
		return what + "a dry run. Nothing was written."
	case r.Status == backup.Completed:
		return what + "complete, with " + written(r.Put) + "."
	case r.Status == backup.Partial:
		return what + "partial, with " + plain.Count(int64(r.ProblemsTotal), "problem") + " and " + written(r.Put) + "."
	}
	return what + plain.Short(string(r.Status), 20) + "."
}

// source says what was restored.
func source(from catalog.Origin) string {
	var what string
	switch {
	case from.URL != "":
		what = plain.Short(withoutSecrets(from.URL), maxName)
	case from.File != "":
		what = "the file " + plain.Short(from.File, maxName)
	case from.Source != "":
		what = plain.Short(string(from.Source), maxName)
	default:
		return "backup " + plain.Short(string(from.Backup), maxName)
	}
	if from.Backup == "" {
		return what
	}
	return fmt.Sprintf("%s, backup %s", what, plain.Short(string(from.Backup), maxName))
}

// destination says what was restored into.
func destination(r catalog.Restore) string {
	folder, isFolder := strings.CutPrefix(r.Target, "dir:")
	switch {
	case r.Drill:
		return "a throw-away target"
	case isFolder:
		return "the folder " + plain.Short(folder, maxName)
	case strings.HasPrefix(r.Target, "s3://"):
		return plain.Short(r.Target, maxName)
	}
	return "the target " + plain.Short(r.Target, maxName)
}

// checkSentence says what was looked at before the first write.
func checkSentence(r catalog.Restore) string {
	signature := plain.Short(r.Signature, 40)
	if signature != "" {
		signature = " Signature: " + signature + "."
	}
	if r.Check == "stored" {
		return "Checked before the first write (stored): the signed list, and size and stored checksum of what it names." + signature
	}
	return "Checked before the first write (full): every byte." + signature
}

// remains says what a restore that did not end well has left behind. That nothing was written is said only where the
// log shows it.
func remains(r catalog.Restore) string {
	writes := func(s catalog.StepLog) bool { return !slices.Contains([]string{"fetch", "check", "reserve"}, s.Step) }
	failed := func(s catalog.StepLog) bool { return s.Failed }
	if slices.ContainsFunc(r.Steps, failed) && !slices.ContainsFunc(r.Steps, writes) {
		if r.Attempt > 1 {
			return "This attempt wrote nothing to the target."
		}
		return "Nothing was written to the target."
	}
	return "What it had written to the target may still be there; the same command again goes on from that."
}

func (m RestoreMessage) tables() []table {
	var list []table
	for _, t := range []table{counts(m.Record), asserted(m.Record.Confirmation), m.steps()} {
		if len(t.Rows) > 0 {
			list = append(list, t)
		}
	}
	return list
}

// counts compares backup and target: as it was found to be, or else as it was foreseen.
func counts(r catalog.Restore) table {
	var t table
	var of []app.Count
	switch {
	case r.Confirmation != nil:
		of = r.Confirmation.Counts
		t = table{Title: "Found on the target", Head: []string{"", "In the backup", "As in the backup", "There before", "Missing or other"}}
	case r.Forecast != nil:
		of = r.Forecast.Counts
		t = table{Title: "Foreseen", Head: []string{"", "In the backup", "To be made", "There before", "Not brought in"}}
	}
	t.Numbers = true
	for _, c := range of[:min(len(of), maxCounts)] {
		row := []string{plain.Short(c.What, 40)}
		for _, n := range []int64{c.Backup, c.Create, c.Exists, c.Skip} {
			row = append(row, plain.Number(n))
		}
		t.Rows = append(t.Rows, row)
	}
	t.More = further(len(of)-maxCounts, see(r))
	return t
}

func asserted(c *app.Confirmation) table {
	t := table{Title: "Checked afterwards"}
	if c == nil {
		return t
	}
	for _, sentence := range c.Asserted[:min(len(c.Asserted), maxAsserted)] {
		t.Rows = append(t.Rows, []string{plain.Short(sentence, maxSentence)})
	}
	if rest := len(c.Asserted) - maxAsserted; rest > 0 {
		t.More = plain.Number(int64(rest)) + " more"
	}
	return t
}

// steps is the log of the attempt, its newest lines where there are many.
func (m RestoreMessage) steps() table {
	r := m.Record
	t := table{Title: "Steps", Head: []string{"Step", r.Started.In(zone(m.Zone)).Format("Began (MST)"), "Took", "What it did"}}
	shown := r.Steps[max(0, len(r.Steps)-maxSteps):]
	for _, s := range shown {
		t.Rows = append(t.Rows, []string{
			plain.Short(s.Step, 40), s.Began.In(zone(m.Zone)).Format("15:04:05"), plain.Duration(s.Took), did(s),
		})
	}
	t.More = further(len(r.Steps)-len(shown), see(r))
	return t
}

func did(s catalog.StepLog) string {
	var parts []string
	if s.Failed {
		parts = append(parts, "failed")
	}
	if s.Items > 0 {
		parts = append(parts, plain.Count(s.Items, "item"))
	}
	if s.Bytes > 0 {
		parts = append(parts, plain.Size(s.Bytes))
	}
	if s.Message != "" {
		parts = append(parts, plain.Short(withoutSecrets(s.Message), maxSentence/2))
	}
	return strings.Join(parts, ", ")
}

// see is the command that shows all of a restore.
func see(r catalog.Restore) string { return "lifeboat restores " + string(r.ID) }

func (m RestoreMessage) rows() []row {
	r := m.Record
	var rows []row
	add := func(label, value string) {
		if value != "" {
			rows = append(rows, row{Label: label, Value: value})
		}
	}
	add("From", source(r.From))
	add("Digest", plain.Short(r.From.Digest, 17))
	if n := len(rows) - 1; r.From.Digest != "" {
		rows[n].Full = plain.Short(r.From.Digest, 80)
	}
	add("Into", destination(r))
	if r.Forecast != nil {
		add("Application", plain.Short(strings.TrimSpace(r.Forecast.Application+" "+r.Forecast.Version), maxName))
	}
	add("Name", plain.Short(r.Name, maxName))
	if len(r.Only) > 0 {
		add("Only", plain.Short(strings.Join(r.Only, ", "), maxName))
	}
	if r.Part != "" {
		add("Part", "the "+plain.Short(r.Part, 40)+" only")
	}
	add("Files", files(r.Put))
	add("Copied", copied(r.Put))
	if !r.Finished.IsZero() {
		add("Duration", plain.Duration(r.Finished.Sub(r.Started)))
	}
	if r.Attempt > 1 {
		add("Attempt", plain.Number(int64(r.Attempt)))
	}
	add("Started", plain.Short(starter(r.StartedBy), maxName))
	return rows
}

func files(p catalog.Put) string {
	if p.Written+p.Existing+p.LeftOut == 0 {
		return ""
	}
	return fmt.Sprintf("%s written, %s; %s there already, %s left out", plain.Number(int64(p.Written)), plain.ExactSize(p.Bytes),
		plain.Number(int64(p.Existing)), plain.Number(int64(p.LeftOut)))
}

func copied(p catalog.Put) string {
	if p.Spliced == 0 {
		return ""
	}
	return fmt.Sprintf("%s of them, %s, by the store itself", plain.Number(int64(p.Spliced)), plain.Size(p.SplicedBytes))
}

func (m RestoreMessage) commands() []command {
	list := []command{{"See all of it", see(m.Record)}}
	if from := m.Record.From; from.File == "" && from.URL == "" {
		list = append(list, command{"See the backup", fmt.Sprintf("lifeboat show %s", plain.Short(string(from.Backup), maxName))})
	}
	return list
}

func (m RestoreMessage) why() []string {
	names := "names you"
	if m.For != "" {
		names += " for the " + plain.Short(m.For, maxName)
	}
	return []string{
		fmt.Sprintf("You get this because notify in lifeboat.yaml %s. The restore was started %s.", names, starter(m.Record.StartedBy)),
		"notify: {on: problem} there keeps mail to trouble.",
	}
}

var addresses = regexp.MustCompile(`\b([a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s/?#"']*@)?([^\s?#"']*)(?:[?#][^\s"']*)?`)

// withoutSecrets takes out of addresses in a text what may be secret: user and password, and all that follows "?".
func withoutSecrets(text string) string { return addresses.ReplaceAllString(text, "$1$2") }

func discreetly(f *catalog.Failure) *catalog.Failure {
	if f == nil {
		return nil
	}
	return &catalog.Failure{Kind: f.Kind, Message: withoutSecrets(f.Message), Hint: withoutSecrets(f.Hint)}
}

// discreet returns the findings that a mail shows, without the secrets of addresses in them.
func discreet(findings []app.Finding) []app.Finding {
	list := slices.Clone(findings[:min(len(findings), maxProblems)])
	for i, f := range list {
		list[i].Message = withoutSecrets(f.Message)
	}
	return list
}
