package vault

import (
	"context"
	"fmt"

	"lifeboat/internal/zipfmt"
)

// writerPart is how much a Writer holds in memory, in bytes: 10,000 parts of it are 80 GiB.
const writerPart = 8 << 20

// Writer streams one object into the vault, holding one part in memory. What was written becomes visible at Close,
// as a whole.
type Writer struct {
	ctx    context.Context
	vault  *Vault
	key    Key
	cond   Condition
	buffer []byte
	upload *Upload
	parts  []Part
	size   int64
	crc    uint32
	err    error
}

// NewWriter returns a writer of the object at key. With IfAbsent an object that is there with the same bytes is
// success, as it is for Create. Either Close or Abort must be called.
func (v *Vault) NewWriter(ctx context.Context, key Key, cond Condition) *Writer {
	return &Writer{ctx: ctx, vault: v, key: key, cond: cond}
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 && w.err == nil {
		if w.buffer == nil {
			w.buffer = make([]byte, 0, 64<<10)
		}
		n := min(len(p), writerPart-len(w.buffer))
		w.buffer = append(w.buffer, p[:n]...)
		p = p[n:]
		if len(w.buffer) == writerPart {
			w.flush()
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return written, nil
}

func (w *Writer) flush() {
	if w.upload == nil {
		u, err := w.vault.CreateUpload(w.ctx, w.key)
		if err != nil {
			w.err = err
			return
		}
		w.upload = &u
	}
	part, err := w.vault.UploadPart(w.ctx, *w.upload, len(w.parts)+1, w.buffer)
	if err != nil {
		w.err = err
		return
	}
	w.parts = append(w.parts, part)
	w.size += part.Size
	w.crc = zipfmt.CombineCRC(w.crc, part.CRC32, part.Size)
	w.buffer = w.buffer[:0]
}

// Close makes the object visible.
func (w *Writer) Close() error {
	if w.err == nil && w.upload == nil {
		w.size, w.crc = int64(len(w.buffer)), checksum(w.buffer)
		if w.cond.absent {
			return w.vault.Create(w.ctx, w.key, w.buffer)
		}
		_, err := w.vault.Put(w.ctx, w.key, w.buffer, w.cond)
		return err
	}
	if w.err == nil && len(w.buffer) > 0 {
		w.flush()
	}
	if w.err == nil {
		w.err = w.vault.complete(w.ctx, *w.upload, w.parts, w.size, w.crc, w.cond)
	}
	if w.err != nil {
		return fmt.Errorf("%w%s", w.err, w.cleanUp())
	}
	return nil
}

// Size returns the number of bytes written; complete after Close.
func (w *Writer) Size() int64 { return w.size }

// CRC32 returns the checksum of all bytes; complete after Close.
func (w *Writer) CRC32() uint32 { return w.crc }

// Abort gives up what was written so far.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = context.Canceled
	}
	_ = w.cleanUp()
}

// cleanUp frees the parts even after a cancellation, and returns what went wrong as a suffix.
func (w *Writer) cleanUp() string {
	if w.upload == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), cleanUpTime)
	defer cancel()
	if err := w.vault.Abort(ctx, *w.upload); err != nil {
		return fmt.Sprintf(" (and its parts could not be freed: %v)", err)
	}
	return ""
}
