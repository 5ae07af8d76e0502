// Package events holds the messages that cross a function's boundary: what starts a workflow, and what each step is
// asked. They are decoded strictly (an unknown field is an error): a message that we misunderstand must not run.
// What crosses is references, never contents. A sample of each lies beside this file.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// Run is what starts a backup, and the reference to it that every step gets.
type Run struct {
	ID          backup.ID       `json:"id"`
	Source      backup.Source   `json:"source"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Scope       backup.Scope    `json:"scope"`
	StartedBy   catalog.Starter `json:"started_by"`
	Rehash      bool            `json:"rehash"` // read every object, whatever its identity
}

// Input is the input of the backup workflow.
type Input struct {
	Run Run `json:"run"`
}

// Request is what a function is asked: one step of one run.
type Request struct {
	Step     string    `json:"step"`
	Run      Run       `json:"run"`
	Snapshot *Snapshot `json:"snapshot,omitempty"` // snapshot: how far it is; plan-packs, copy, assemble, seal: where it lies
	Batch    *Batch    `json:"batch,omitempty"`    // copy
	Assembly *Assembly `json:"assembly,omitempty"` // assemble, seal: how far it is
	Error    *Error    `json:"error,omitempty"`    // abort: what was caught

	Execution string `json:"execution,omitempty"` // begin, abort: the name of the workflow's execution
}

// Began is the answer of begin.
type Began struct {
	Answer string `json:"answer"` // "run", "skip" (another run holds the source), "duplicate" (this run has ended before)
}

// Snapshot is the answer of snapshot.
type Snapshot struct {
	Done    bool   `json:"done"`
	Attempt string `json:"attempt"` // the folder of this snapshot's files among the run's work files
}

// Plan is the answer of plan-packs.
type Plan struct {
	Many   bool    `json:"many"` // more batches than an inline Map takes: they lie in the list
	Few    []Batch `json:"few"`
	Bucket string  `json:"bucket"`
	List   string  `json:"list"` // key of the batches as JSON Lines
	// Results is the prefix, without a final slash, below which Step Functions writes what the children of a Map of many
	// answered. It lies among the work files of the run or the restore, and goes with them.
	Results string `json:"results,omitempty"`
}

// Batch is one unit of copying: a range of the plan file.
type Batch struct {
	Batch  int   `json:"batch"`
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Copied is the answer of copy: as good as nothing, since a Map keeps the answers of all its children.
type Copied struct {
	Batch int  `json:"batch"`
	Done  bool `json:"done"` // false: the time was over; the next call goes on where this one stopped
}

// Assembly is the answer of assemble.
type Assembly struct {
	Done   bool   `json:"done"`
	Volume int    `json:"volume"` // files of the archive that are complete
	Upload string `json:"upload"` // id of the multipart upload of the next; empty before the first call
	Next   int    `json:"next"`   // its parts that are done
}

// Sealed is the answer of seal.
type Sealed struct {
	Status backup.Status `json:"status"`
}

// Error is what a state machine caught.
type Error struct {
	Error string `json:"Error"`
	Cause string `json:"Cause"`
}

// Decode decodes a message strictly. What is wrong with it is a Usage error without the names of our types.
func Decode(data []byte, message any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(message); err != nil {
		return failure.New(failure.Usage, "%s", wrong(err)).WithHint("the samples in the folder events have the form of each message")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return failure.New(failure.Usage, "something follows the message")
	}
	return nil
}

// wrong says what a decoder found, as people do.
func wrong(err error) string {
	if typed, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if typed.Field == "" {
			return "the whole message can't be of the type " + typed.Value
		}
		return "the field " + typed.Field + " can't be a " + typed.Value
	}
	if _, broken := errors.AsType[*json.SyntaxError](err); broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "what was sent is no JSON"
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return "it has the unknown field " + name
	}
	return err.Error()
}
