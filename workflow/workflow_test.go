package workflow

import (
	"testing"

	"lifeboat/internal/machine"
)

// TestBackupLoads holds the definition against the runner: what it cannot run, no deployment may get.
func TestBackupLoads(t *testing.T) {
	if _, err := machine.Load(Backup, BackupFunctions, machine.WithInputs("run")); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreLoads(t *testing.T) {
	if _, err := machine.Load(Restore, RestoreFunctions, machine.WithInputs("restore")); err != nil {
		t.Fatal(err)
	}
}
