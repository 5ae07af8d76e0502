// Package machine executes a Step Functions definition on one machine: the bytes that AWS gets, by the rules of
// AWS. It is the embedded twin of the state machine and stands between the workflow definitions and the steps.
//
// # What it executes
//
// The Amazon States Language with JSONPath, as far as our workflows use it: Task with lambda:invoke, Choice, Pass,
// Wait, Succeed, Fail, and Map, INLINE or DISTRIBUTED with an ItemReader of JSON lines and a ResultWriter; Retry, Catch, time-outs;
// States.Format. [Load] refuses everything else by name, and also what no checker finds before a deployment:
// functions that don't exist, error names that nothing raises, fields that nothing sets.
//
// # What it promises
//
// A run ends with exactly one status. Every value is checked against the 256 KiB of Step Functions and every run
// against its 25,000 events. Numbers keep their digits. No goroutine outlives [Engine.Execute].
// A run with a journal survives a crash at any moment: executed again, it re-enters the state that was not
// left, with the same input; retry counters and time-outs start anew, and of a Map only those children run again
// that have not succeeded. A step may therefore run twice and must be idempotent.
//
// # The journal
//
// A journal is one file of JSON lines for one run, made with mode 0600. The process that executes the run holds an
// exclusive flock on it. Every record is one write and one fsync; a last line that is not a whole record was torn
// by a crash and does not count. Every record has a type and a time (RFC 3339, UTC):
//
//	started  format (1), name, machine, definition (SHA-256 of its bytes, hex), input; always the first
//	resumed  a process took the run up again
//	entered  state, kind (its type), input; function of a Task; mode and label of a Map
//	child    state, index, output: a child of a Map succeeded; or failed (true), error, cause
//	failed   state, kind, error, cause: an attempt of a Task or a Map failed; again (true) and wait (seconds) if
//	         another follows, which for a Map runs all children anew
//	exited   state, kind, output, next; without next, the run's output is there and only its end is missing
//	stopped  status ABORTED: the run's context ended; it may be resumed
//	ended    status, output or error and cause, state, caught; always the last
//
// Only the run's own states are recorded, not those inside of a Map's children.
package machine
