package foreign

import "testing"

// LowerScanned lowers, for one test, how many bytes are read to find an export.
func LowerScanned(t *testing.T, most int64) {
	t.Helper()
	before := maxScanned
	maxScanned = most
	t.Cleanup(func() { maxScanned = before })
}
