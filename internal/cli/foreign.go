package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/foreign"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/zipcheck"
)

// foreign opens a file that is not lifeboat's as a ZIP of another program, and checks its structure and names; own is
// why the reader of lifeboat's archives refused it.
func (c *cli) foreign(ctx context.Context, name string, own error) (*foreign.Archive, *os.File, error) {
	if kind := failure.KindOf(own); kind != failure.Corrupt && kind != failure.Invalid {
		return nil, nil, own
	}
	file, err := os.Open(name) // it is a regular file, or own would be of another kind
	if err != nil {
		return nil, nil, own
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, own
	}
	a, err := foreign.Inspect(ctx, file, info.Size(), name)
	if errors.Is(err, foreign.ErrOwn) {
		err = own
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return a, file, nil
}

// foreignMessage is what `verify` says of a foreign archive to robots. Its fields are fixed.
type foreignMessage struct {
	Type    string                `json:"message_type"`
	Verdict string                `json:"verdict"`
	Kind    string                `json:"kind,omitempty"` // zipline, linkding, squidex, labii
	Counts  map[zipcheck.Word]int `json:"counts"`
	Reasons []foreignReason       `json:"reasons"`
}

type foreignReason struct {
	Verdict string        `json:"verdict"`
	Word    zipcheck.Word `json:"word"`
	Entry   int           `json:"entry"` // -1: the archive
	Name    string        `json:"name,omitempty"`
	Text    string        `json:"text"`
}

func (r foreignReason) String() string {
	if r.Entry < 0 {
		return fmt.Sprintf("%s: %s", r.Word, r.Text)
	}
	return fmt.Sprintf("%s: entry %d, %s: %s", r.Word, r.Entry, r.Name, r.Text)
}

// sayForeign says the verdict with all its reasons.
func (c *cli) sayForeign(name string, a *foreign.Archive) {
	report := a.Report()
	m := foreignMessage{Type: "foreign-archive", Verdict: report.Verdict.String(), Kind: a.Kind, Counts: report.Counts, Reasons: []foreignReason{}}
	listed := map[zipcheck.Word]int{}
	for _, r := range report.Reasons {
		m.Reasons = append(m.Reasons, foreignReason{r.Verdict.String(), r.Word, r.Entry, r.Name, r.Text})
	}
	c.message(m)
	c.say("%s: %s", plain.Text(name), report)
	for _, r := range m.Reasons {
		if listed[r.Word]++; listed[r.Word] <= 10 {
			c.say("  %s: %s", r.Verdict, r)
		} else if listed[r.Word] == 11 {
			c.say("  … and %d more of %s: --json lists them", report.Counts[r.Word]-10, r.Word)
		}
	}
}

// verifyForeign checks a file that is not lifeboat's.
func (c *cli) verifyForeign(ctx context.Context, name string, own error) error {
	a, file, err := c.foreign(ctx, name, own)
	if err != nil {
		return c.unreadable(name, err)
	}
	defer file.Close()
	reporter := c.reporter()
	reporter.Phase("verify", int64(len(a.Report().Entries)), a.Report().Bytes)
	checked := a.Check(ctx, reporter.Add)
	reporter.Done()
	if checked != nil && !failure.Damage(checked) && failure.KindOf(checked) != failure.Invalid { // nothing is known of it
		return checked
	}
	c.sayForeign(name, a)
	report := a.Report()
	message := verifyMessage{Type: "verify", OK: checked == nil, Signature: string(manifest.Unsigned), Problems: []finding{}}
	message.Entries, message.Bytes = len(report.Entries), report.Bytes
	odd := 0
	for _, r := range report.Reasons {
		if r.Verdict == zipcheck.Reject {
			message.Problems = append(message.Problems, finding{string(r.Word), r.Name, r.Text})
		}
	}
	if checked != nil && len(message.Problems) == 0 {
		message.Problems = append(message.Problems, finding{failure.KindOf(checked).String(), name, checked.Error()})
	}
	for _, f := range a.Findings {
		if f.Severity == app.Problem && checked == nil {
			message.Problems, message.OK = append(message.Problems, finding{f.Kind, f.Item, f.Message}), false
			odd++
		}
	}
	c.message(message)
	if checked != nil {
		return saidAll(checked)
	}
	if a.Kind != "" {
		c.say("%s is an archive of %s: %s", plain.Text(name), a.Kind, plain.Text(a.Why))
	}
	for _, f := range a.Findings {
		c.say("  %s: %s", f.Severity, findingLine(f))
	}
	c.say("%s: foreign archive: structure and checksums are sound; nobody signed it: %s, %s",
		plain.Text(name), countOf(message.Entries, "entry", "entries"), plain.Size(message.Bytes))
	if odd > 0 {
		return partial{fmt.Sprintf("%s has %s as an archive of %s: a restore of it would not be complete", name, count(odd, "problem"), a.Kind)}
	}
	return nil
}

// saidAll is the refusal of an archive all of whose reasons were said.
func saidAll(refused error) error {
	hint, cut := strings.CutSuffix(failure.HintOf(refused), foreign.Verify)
	if !cut {
		return refused
	}
	return failure.New(failure.KindOf(refused), "%w", refused).WithHint("%s", hint)
}

// listForeign lists the entries of an archive that is not lifeboat's.
func (c *cli) listForeign(ctx context.Context, name string, own error) error {
	a, file, err := c.foreign(ctx, name, own)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := a.Refusal(); err != nil {
		c.sayForeign(name, a)
		return saidAll(err)
	}
	report := a.Report()
	for i := range report.Entries {
		e := &report.Entries[i]
		c.listed(manifest.Entry{Path: e.Name, Size: e.Size, CRC32: manifest.CRC(e.CRC32), Modified: e.Modified()})
	}
	return nil
}
