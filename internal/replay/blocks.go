package replay

import (
	"context"
	"io"
	"sync"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// blocks reads an object of the vault at any place, a block at a time.
type blocks struct {
	ctx   context.Context // of the step that reads
	vault *vault.Vault
	key   vault.Key
	size  int64

	mutex sync.Mutex
	kept  map[int64][]byte
	order []int64
}

const (
	blockSize     = 1 << 20 // bytes
	blockKept     = 16
	blockAttempts = 3
)

func (b *blocks) ReadAt(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) {
		at := offset + int64(n)
		if at >= b.size {
			return n, io.EOF
		}
		block, err := b.block(at / blockSize)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], block[at%blockSize:])
	}
	return n, nil
}

func (b *blocks) block(number int64) ([]byte, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if block, ok := b.kept[number]; ok {
		return block, nil
	}
	from := number * blockSize
	block := make([]byte, min(blockSize, b.size-from))
	for attempt := 1; ; attempt++ { // the SDK repeats a request, not a body that breaks off
		err := b.read(block, from)
		if err == nil {
			break
		}
		if failure.KindOf(err) != failure.Transient || attempt == blockAttempts {
			return nil, err
		}
	}
	if b.kept == nil {
		b.kept = map[int64][]byte{}
	}
	if b.order = append(b.order, number); len(b.order) > blockKept {
		delete(b.kept, b.order[0])
		b.order = b.order[1:]
	}
	b.kept[number] = block
	return block, nil
}

func (b *blocks) read(block []byte, from int64) error {
	body, _, err := b.vault.Open(b.ctx, b.key, from, int64(len(block)))
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.ReadFull(body, block)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = failure.New(failure.Transient, "read %s: it broke off", b.key)
	}
	return err
}
