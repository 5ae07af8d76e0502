// Package apptest is the conformance suite of the adapters: what app.Source promises, held against the real pipeline
// (the embedded server, the steps, the real workflow), not against a model of it.
//
// A package of an adapter runs it in an external test:
//
//	func TestMain(m *testing.M) {
//		if local.ChildMain() {
//			return
//		}
//		os.Exit(m.Run())
//	}
//
//	func TestConformance(t *testing.T) { apptest.Run(t, subject) }
//
// It is a package for tests only: nothing else imports it. It stores nothing but in folders of the test. A subject of a
// dozen objects, at least half of them with bytes, is enough: the suite makes some thirty backups.
package apptest

import (
	"testing"

	"lifeboat/internal/app"
)

// Subject is an application with some objects, and the adapter of it. Nobody else changes it while a test runs.
type Subject struct {
	// Source is the adapter. A backup of the application as it is has no problems.
	Source app.Source
	// Objects returns the contents of all objects by their paths in the archive, as they are now; no folders.
	Objects func() map[string]string
	// Documents are the paths of all documents. They stay the same whatever is done to the objects.
	Documents []string
	// Change gives at least one object that is there another content, and perhaps adds some. It returns how many
	// objects the next backup has to read. It is called more than once.
	Change func(t *testing.T) int
	// Remove removes one object and returns its path.
	Remove func(t *testing.T) string

	// What not every application has.

	// Pauses says that a snapshot of the application can be taken in pieces (app.Pausing), of one object each.
	Pauses bool
	// Fail makes the n-th request to the application fail from now on, once, in whatever way the adapter may meet;
	// n counts from 1. The function that it returns ends that, and says whether it came to it. May be nil.
	Fail func(t *testing.T, n int) (end func() bool)
	// Thorough lets each sort of call fail in every way that the suite knows, not in a third of them.
	Thorough bool
	// Folders are the permission bits of the folders that are objects, by path with a "/" at its end.
	Folders map[string]uint32
	// Modes are the permission bits of objects by path, where the adapter keeps them.
	Modes map[string]uint32
	// Unwritable are paths that a folder may refuse: names that no file system takes, or that clash in one.
	Unwritable []string
}

// Run runs the suite. subject makes a fresh application and adapter for each part; they are closed by t.Cleanup.
func Run(t *testing.T, subject func(t *testing.T) Subject) {
	t.Helper()
	t.Run("snapshot", func(t *testing.T) { snapshotTwice(t, subject(t)) })
	t.Run("sink fails", func(t *testing.T) { sinkFails(t, subject(t)) })
	t.Run("canceled", func(t *testing.T) { canceled(t, subject(t)) })
	t.Run("in pieces", func(t *testing.T) { inPieces(t, subject(t)) })
	v := newVault(t)
	t.Run("backup in pieces", func(t *testing.T) { backupInPieces(t, v, subject(t)) })
	t.Run("round trip", func(t *testing.T) { roundTrip(t, v, subject(t)) })
	t.Run("directories and modes", func(t *testing.T) { directories(t, v, subject(t)) })
	t.Run("archive on demand", func(t *testing.T) { onDemand(t, v, subject(t)) })
	t.Run("later backups", func(t *testing.T) { laterBackups(t, v, subject(t)) })
	t.Run("changes while it is copied", func(t *testing.T) { changesMeanwhile(t, v, subject(t)) })
	t.Run("vanishes while it is copied", func(t *testing.T) { vanishesMeanwhile(t, v, subject(t)) })
	t.Run("fails at every call", func(t *testing.T) { failsAtEveryCall(t, v, subject(t)) })
	t.Run("application fails", func(t *testing.T) { applicationFails(t, v, subject(t)) })
}

// RunPieces runs that part of the suite which is about snapshots in pieces, for a subject that has passed the rest in
// another shape.
func RunPieces(t *testing.T, subject func(t *testing.T) Subject) {
	t.Helper()
	t.Run("in pieces", func(t *testing.T) { inPieces(t, subject(t)) })
	t.Run("backup in pieces", func(t *testing.T) { backupInPieces(t, newVault(t), subject(t)) })
}
