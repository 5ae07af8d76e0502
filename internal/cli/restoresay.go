package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/replay"
	"lifeboat/internal/verify"
)

// restoreMessage is what `restore`, `restores`, `migrate` and `drill` say of a restore to robots. Its fields are fixed.
type restoreMessage struct {
	Type         string            `json:"message_type"`
	ID           backup.RestoreID  `json:"id"`
	Status       backup.Status     `json:"status"`
	Backup       backup.ID         `json:"backup"`
	Source       backup.Source     `json:"source,omitempty"`
	File         string            `json:"file,omitempty"`
	URL          string            `json:"url,omitempty"`
	Target       string            `json:"target,omitempty"`
	Folder       string            `json:"folder,omitempty"`
	Bucket       string            `json:"bucket,omitempty"`
	Name         string            `json:"name,omitempty"`
	Kind         string            `json:"kind,omitempty"`
	DryRun       bool              `json:"dry_run,omitempty"`
	Drill        bool              `json:"drill,omitempty"`
	Attempt      int               `json:"attempt"`
	Started      time.Time         `json:"started"`
	Finished     time.Time         `json:"finished,omitzero"`
	Check        string            `json:"check"`
	Signature    string            `json:"signature"`
	Written      int               `json:"written"`
	Folders      int               `json:"folders,omitempty"` // of written
	Existing     int               `json:"existing"`
	LeftOut      int               `json:"left_out"`
	Bytes        int64             `json:"bytes"`
	Spliced      int               `json:"spliced"`
	SplicedBytes int64             `json:"spliced_bytes"`
	Forecast     *app.Forecast     `json:"forecast,omitempty"`
	Confirmation *app.Confirmation `json:"confirmation,omitempty"`
	Steps        []catalog.StepLog `json:"steps"`
	Notes        []finding         `json:"notes"`
	Problems     []finding         `json:"problems"`
	Failure      *catalog.Failure  `json:"failure,omitempty"`
}

func restoreMessageOf(r catalog.Restore) restoreMessage {
	m := restoreMessage{
		Type: "restore", ID: r.ID, Status: r.Status, Backup: r.From.Backup, Source: r.From.Source, File: r.From.File, URL: r.From.URL,
		Name: r.Name, Kind: r.Kind, DryRun: r.DryRun, Drill: r.Drill, Attempt: r.Attempt, Started: r.Started, Finished: r.Finished,
		Check: r.Check, Signature: r.Signature,
		Written: r.Put.Written, Folders: r.Put.Folders, Existing: r.Put.Existing, LeftOut: r.Put.LeftOut, Bytes: r.Put.Bytes, Spliced: r.Put.Spliced, SplicedBytes: r.Put.SplicedBytes,
		Forecast: r.Forecast, Confirmation: r.Confirmation, Steps: r.Steps, Notes: findings(r.Notes), Problems: findings(r.Problems), Failure: r.Failure,
	}
	if m.Steps == nil {
		m.Steps = []catalog.StepLog{}
	}
	switch folder, isFolder := strings.CutPrefix(r.Target, "dir:"); {
	case isFolder:
		m.Folder = folder
	case strings.HasPrefix(r.Target, "s3://"):
		m.Bucket = r.Target
	default:
		m.Target = r.Target
	}
	return m
}

// sayFailed says what a restore that failed has found before it did.
func (c *cli) sayFailed(r catalog.Restore) {
	if r.ID == "" || r.Attempt == 0 {
		return
	}
	c.message(restoreMessageOf(r))
	c.sayRestoreFindings(r, 10)
}

// sayRestored says what became of a restore.
func (c *cli) sayRestored(r catalog.Restore) {
	c.message(restoreMessageOf(r))
	if r.DryRun {
		c.sayRestoreFindings(r, 100)
		c.say("%s: nothing was written; %s", plain.Text(r.Target), c.signedWords(r))
		return
	}
	c.sayConfirmation(r.Confirmation)
	c.sayRestoreFindings(r, 10)
	noun := "file"
	if strings.HasPrefix(r.Target, "s3://") {
		noun = "object"
	}
	if r.Put.Written+r.Put.Existing == 0 && r.Confirmation != nil { // what came in came through the application
		c.say("%s: compared with the backup, see above; %s", plain.Text(near(r.Target)), c.signedWords(r))
		return
	}
	c.say("%s: %s written, %s; %s", plain.Text(near(r.Target)), writtenWords(r.Put, noun), plain.Size(r.Put.Bytes), c.signedWords(r))
	if r.Put.Existing > 0 {
		c.say("  %s were there already with the same bytes", plain.Number(int64(r.Put.Existing)))
	}
	if r.Put.Spliced > 0 {
		c.say("  the store copied %s of them, %s, by itself", plain.Number(int64(r.Put.Spliced)), plain.Size(r.Put.SplicedBytes))
	}
	if r.Put.Streams != "" && r.Put.Written > r.Put.Spliced && noun == "object" {
		c.say("  %s passed through this machine: %s", plain.Size(r.Put.Bytes-r.Put.SplicedBytes), plain.Text(r.Put.Streams))
	}
	if n := r.Put.LeftOut; n > 0 && r.Confirmation != nil {
		c.say("  %s not among them: documents, and what the lines above name", countOf(n, "entry of the backup is", "entries of the backup are"))
	} else if n > 0 {
		c.say("  %s left out", countOf(n, "entry of the backup was", "entries of the backup were"))
	}
}

// writtenWords counts what was written; a folder without anything in it is no file.
func writtenWords(p catalog.Put, noun string) string {
	files := p.Written - p.Folders
	switch {
	case p.Folders == 0 || noun == "object":
		return count(p.Written, noun)
	case files == 0:
		return count(p.Folders, "folder")
	}
	return count(files, noun) + " and " + count(p.Folders, "folder")
}

// near names a target; a folder below this one by its relative path.
func near(target string) string {
	folder, isFolder := strings.CutPrefix(target, "dir:")
	if !isFolder {
		return target
	}
	here, err := os.Getwd()
	if err != nil {
		return folder
	}
	if below, err := filepath.Rel(here, folder); err == nil && filepath.IsLocal(below) {
		return below
	}
	return folder
}

// signedWords says who signed what was restored.
func (c *cli) signedWords(r catalog.Restore) string {
	report := verify.Report{Signature: manifest.Authenticity(r.Signature)}
	return signatureWords(report, c.signerOf(r))
}

// signerOf names the key of this machine's key ring that signed what came from a file or a URL; "" for the vault's own.
func (c *cli) signerOf(r catalog.Restore) string {
	if r.From.File == "" && r.From.URL == "" {
		return ""
	}
	return c.keyName(r.Signer)
}

func (c *cli) sayForecast(f app.Forecast) {
	head := "plan"
	if f.Application != "" {
		head += " for " + plain.Text(strings.TrimSpace(f.Application+" "+f.Version))
	}
	c.say("%s:", head)
	c.sayCounts(f.Counts, [4]string{"in the backup", "to make", "there", "skipped"})
}

func (c *cli) sayConfirmation(seen *app.Confirmation) {
	if seen == nil {
		return
	}
	c.say("found on the target:")
	c.sayCounts(seen.Counts, [4]string{"in the backup", "as in the backup", "there before", "missing or other"})
	for _, sentence := range seen.Asserted {
		c.say("  %s", plain.Text(sentence))
	}
}

// sayCounts writes a small table.
func (c *cli) sayCounts(counts []app.Count, heads [4]string) {
	if len(counts) == 0 {
		return
	}
	c.say("  %-18s %*s %*s %*s %*s", "", len(heads[0])+2, heads[0], len(heads[1])+2, heads[1], len(heads[2])+2, heads[2], len(heads[3])+2, heads[3])
	for _, n := range counts {
		c.say("  %-18s %*s %*s %*s %*s", plain.Text(n.What), len(heads[0])+2, plain.Number(n.Backup), len(heads[1])+2, plain.Number(n.Create),
			len(heads[2])+2, plain.Number(n.Exists), len(heads[3])+2, plain.Number(n.Skip))
	}
}

func (c *cli) sayRestoreFindings(r catalog.Restore, most int) {
	rest := fmt.Sprintf("--json lists them, and `lifeboat restores %s`", r.ID)
	c.sayFound("problem", r.Problems, r.ProblemsTotal, most, rest)
	c.sayFound("note", r.Notes, r.NotesTotal, most, rest)
}

// ended is how a command ends whose restore has: with nothing, or with what is wrong.
func ended(r catalog.Restore) error {
	damaged := slices.ContainsFunc(r.Problems, func(f app.Finding) bool { return f.Kind == "corrupt" })
	switch {
	case r.Status != backup.Partial:
		return nil
	case damaged && r.Check == replay.CheckStored:
		return failure.New(failure.Corrupt, "%d of what was to be written could not be: bytes in the vault are damaged", r.ProblemsTotal).
			WithHint("`lifeboat verify %s` says what else is; restore the rest from another backup", r.From.Backup)
	case r.DryRun:
		return partial{fmt.Sprintf("the restore would end with %d %s", r.ProblemsTotal, plural(r.ProblemsTotal, "problem"))}
	}
	return partial{fmt.Sprintf("the restore is complete but for %d %s: `lifeboat restores %s` lists them", r.ProblemsTotal, plural(r.ProblemsTotal, "problem"), r.ID)}
}
