// Package catalog keeps the records of all backups in the vault: catalog/backups/<source>/<backup>.json, and the
// lease that lets one run at a time work on a source: catalog/leases/<source>.json.
//
// A record is created as "in progress" before any work, and named "completed" only after what it names has been
// proven. It is all that is needed, with the manifest and the packs, to read a backup after a disaster.
package catalog

import (
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// Format is the version of records that this program writes; it refuses to read a later one.
const Format = 1

// Record is what lifeboat knows of one backup.
type Record struct {
	Format      int           `json:"format"`
	ID          backup.ID     `json:"id"`
	Source      backup.Source `json:"source"`
	Kind        string        `json:"kind"` // of the source: zipline, …
	Name        string        `json:"name,omitempty"`
	Description string        `json:"description,omitempty"`
	Status      backup.Status `json:"status"`
	Scope       backup.Scope  `json:"scope"`
	StartedBy   Starter       `json:"started_by"`
	Started     time.Time     `json:"started"`
	Finished    time.Time     `json:"finished,omitzero"`
	Lifeboat    string        `json:"lifeboat"` // version of the program that made it
	Facts       app.Facts     `json:"facts,omitzero"`

	Documents     int   `json:"documents"`
	Objects       int   `json:"objects"`
	Bytes         int64 `json:"bytes"`          // of documents and objects, as a person would have them on disk
	PackedObjects int   `json:"packed_objects"` // objects whose bytes were written by this run
	PackedBytes   int64 `json:"packed_bytes"`

	Manifest Manifest     `json:"manifest,omitzero"`
	Archive  Archive      `json:"archive,omitzero"`
	Proof    backup.Proof `json:"proof,omitempty"`
	Proven   time.Time    `json:"proven,omitzero"`
	Drilled  time.Time    `json:"drilled,omitzero"` // when it was last restored into a throw-away target and asserted
	Secrets  bool         `json:"secrets"`          // the archive holds passwords, tokens or keys
	// LockedUntil is until when nobody can delete what the backup needs: its packs, its manifest and what proves it. Later
	// backups lock what they share for longer. Zero where nothing was locked.
	LockedUntil time.Time `json:"locked_until,omitzero"`

	Notes         []app.Finding `json:"notes,omitempty"`    // the first MaxFindings
	Problems      []app.Finding `json:"problems,omitempty"` // the first MaxFindings
	NotesTotal    int           `json:"notes_total,omitzero"`
	ProblemsTotal int           `json:"problems_total,omitzero"`

	Damage   string   `json:"damage,omitempty"`    // what the last verification found wrong; the backup doesn't count as good
	DamageOf string   `json:"damage_of,omitempty"` // DamagedPacks or DamagedArchive where it is of the one only
	Accepted bool     `json:"accepted,omitzero"`   // a person has said that what seemed suspicious is right
	Failure  *Failure `json:"failure,omitempty"`   // why a failed or canceled run ended
	Notified Notified `json:"notified,omitzero"`

	// Execution is the name of the workflow's execution that the run is at. A second one of the same run, under another
	// name, neither joins the first nor closes it.
	Execution string `json:"execution,omitempty"`
}

// Twin reports whether a run that is under way is another execution's.
func (r Record) Twin(execution string) bool {
	return r.Status == backup.InProgress && execution != "" && r.Execution != "" && r.Execution != execution
}

// What Record.DamageOf says.
const (
	DamagedPacks   = "packs"   // or the manifest
	DamagedArchive = "archive" // which can be made again of the packs
)

// MaxFindings is how many notes, and how many problems, a record keeps; the totals count all.
const MaxFindings = 1000

// Starter says who or what started a run.
type Starter struct {
	By  string `json:"by"`            // "person", "schedule", "api", "demo"
	Who string `json:"who,omitempty"` // user@host, a schedule's name, …
}

// Manifest is the reference to the signed list of entries.
type Manifest struct {
	Key     string `json:"key"`
	SHA256  string `json:"sha256"` // of the canonical JSON lines, not of the compressed file; hex
	Entries int    `json:"entries"`
	Signer  string `json:"signer"`        // id of the public key
	MAC     string `json:"mac,omitempty"` // key of its message authentication code, where one was made
}

// Archive is the reference to the ZIP.
type Archive struct {
	Key   string    `json:"key"`
	Bytes int64     `json:"bytes"`
	CRC32 string    `json:"crc32"` // of the whole object, 8 hex digits
	Parts int       `json:"parts"`
	Made  time.Time `json:"made,omitzero"`
	// Split is the size of the volumes, in bytes, and Volumes lists them; Key and CRC32 are then those of the first,
	// Bytes the sum of all.
	Split   int64    `json:"split,omitzero"`
	Volumes []Volume `json:"volumes,omitempty"`
	// Expired is when the bytes were given up; Key is empty then, and the rest says what it was and would be again.
	Expired time.Time `json:"expired,omitzero"`
	// LockedUntil is until when nobody can delete its files; zero where they were not locked.
	LockedUntil time.Time `json:"locked_until,omitzero"`
}

// Volume is one file of a split archive.
type Volume struct {
	Key   string `json:"key"`
	Bytes int64  `json:"bytes"`
	CRC32 string `json:"crc32"`
}

// Files returns the files of the archive: one, the volumes of a split one, or none where there is no archive.
func (a Archive) Files() []Volume {
	switch {
	case a.Key == "":
		return nil
	case len(a.Volumes) > 0:
		return a.Volumes
	}
	return []Volume{{a.Key, a.Bytes, a.CRC32}}
}

// Failure is why a run did not complete.
type Failure struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// FailureOf says of an error what a record keeps.
func FailureOf(err error) Failure {
	return Failure{Kind: failure.KindOf(err).String(), Message: err.Error(), Hint: failure.HintOf(err)}
}

// Notified says who was told about the run.
type Notified struct {
	Status  string    `json:"status,omitempty"` // "sent", "written" (an .eml file), "failed", "quiet"
	At      time.Time `json:"at,omitzero"`
	To      []string  `json:"to,omitempty"`
	Message string    `json:"message,omitempty"` // the reason of a failure, the file of a written mail
	Link    string    `json:"link,omitempty"`    // id of the link in the mail
}
