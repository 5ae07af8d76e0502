package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// ids names the packs of one batch whose bytes are not known beforehand: by run, batch, a generation and a number. They
// sort one after the other, so that packs that belong together stay neighbours. The generation skips names that an
// attempt used which died before it could say so; uploads that such an attempt left are freed.
type ids struct {
	packer *Packer
	batch  int
	prefix string // "" until the first is taken
	next   int
}

// digits of an id that its packs have in common; the rest counts them.
const idPrefix = 28

func (n *ids) take(ctx context.Context) (string, error) {
	if n.prefix == "" {
		prefix, err := n.free(ctx)
		if err != nil {
			return "", err
		}
		n.prefix = prefix
	}
	if n.next > 0xffff {
		return "", failure.New(failure.Internal, "batch %d needs more packs than it can name", n.batch)
	}
	id := fmt.Sprintf("%s%04x", n.prefix, n.next)
	n.next++
	return id, nil
}

// free returns the first prefix that no pack has.
func (n *ids) free(ctx context.Context) (string, error) {
	v, source := n.packer.Vault, n.packer.Source
	for generation := 0; ; generation++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "lifeboat pack 1\n%s\n%d\n%d\n", n.packer.Backup, n.batch, generation))
		prefix := hex.EncodeToString(sum[:])[:idPrefix]
		used := false
		for _, err := range v.List(ctx, vault.Pack(source, prefix)) {
			if err != nil {
				return "", err
			}
			used = true
			break
		}
		if !used {
			return prefix, v.AbortAll(ctx, vault.Pack(source, prefix))
		}
	}
}
