package fetch

import (
	"testing"

	"lifeboat/internal/vault"
)

// TestParts: whatever the size, ten thousand parts of at most 64 MiB suffice.
func TestParts(t *testing.T) {
	v := vault.New(nil, "none", nil)
	for _, size := range []int64{1, smallestPart, smallestPart + 1, 80 << 30, 80<<30 + 1, 300<<30 + 7, 512 << 30, Most - 1, Most} {
		k := (&download{vault: v}).newSink(size)
		each := k.partSize()
		if n := (size + each - 1) / each; n > vault.MaxParts || each < smallestPart || each > largestPart || each%(1<<20) != 0 {
			t.Errorf("%d bytes come in %d parts of %d", size, n, each)
		}
	}
	k := (&download{vault: v}).newSink(-1)
	var sum, last int64
	for range vault.MaxParts {
		each := k.partSize()
		if each < max(last, smallestPart) || each > largestPart {
			t.Fatalf("part %d has %d bytes after one of %d", len(k.parts)+1, each, last)
		}
		last = each
		k.parts = append(k.parts, vault.Part{})
		sum += each
	}
	if sum < 490<<30 {
		t.Errorf("a file of unknown length ends at %d bytes", sum)
	}
}
