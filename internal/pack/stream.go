package pack

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

const (
	streamPart  = 8 << 20 // bytes of a part, more where the pack would need too many
	streamParts = 9_000   // of the 10,000 that an upload may have
	inFlight    = 2       // parts that are written while the next is read
)

// stream writes entries into one multipart upload. Bodies go out as they come; the part that holds an entry's
// header is held back until the entry is read and its CRC known (parts may be written in any order). So an entry of
// any size costs at most inFlight + 2 parts of memory.
type stream struct {
	ctx    context.Context
	vault  *vault.Vault
	key    vault.Key
	part   int
	upload *vault.Upload

	number int    // of the part under construction, from 1
	buffer []byte // its bytes
	offset int64  // of the next byte in the pack
	entry  int    // where the header of the entry under way lies in its part
	length int64  // of that header
	open   bool   // an entry is under way
	held   []byte // the part with that header, once it is full
	heldNo int

	slots  chan struct{}
	wait   sync.WaitGroup
	mutex  sync.Mutex
	parts  map[int]vault.Part
	failed error
	closed bool
}

// newStream begins a pack of about planned bytes, in parts of at least so many bytes.
func newStream(ctx context.Context, v *vault.Vault, key vault.Key, planned, part int64) *stream {
	if least := planned / streamParts; least > part {
		part = (least>>20 + 1) << 20
	}
	return &stream{
		ctx: ctx, vault: v, key: key, part: int(part), number: 1,
		slots: make(chan struct{}, inFlight), parts: map[int]vault.Part{},
	}
}

// mark is a place to roll back to: between two entries.
type mark struct {
	number, length int
	offset         int64
}

func (s *stream) mark() mark { return mark{s.number, len(s.buffer), s.offset} }

// begin reserves the header of an entry; it never crosses a part.
func (s *stream) begin(header int64) error {
	if len(s.buffer)+int(header) > s.part {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.entry, s.length, s.open = len(s.buffer), header, true
	s.buffer = append(s.buffer, make([]byte, header)...)
	s.offset += header
	return nil
}

// copy appends a body, showing every piece to saw.
func (s *stream) copy(body io.Reader, saw func([]byte)) error {
	for {
		if len(s.buffer) == s.part {
			if err := s.flush(); err != nil {
				return err
			}
		}
		room := min(s.part-len(s.buffer), 256<<10)
		s.buffer = slices.Grow(s.buffer, room)
		piece := s.buffer[len(s.buffer) : len(s.buffer)+room]
		n, err := body.Read(piece)
		s.buffer = s.buffer[:len(s.buffer)+n]
		s.offset += int64(n)
		if n > 0 {
			saw(piece[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
}

// finish writes the header of the entry under way into its place.
func (s *stream) finish(e zipfmt.Entry) error {
	s.open = false
	target := s.buffer
	if s.held != nil {
		target = s.held
	}
	copy(target[s.entry:s.entry+int(s.length)], e.AppendLocal(nil))
	if s.held == nil {
		return nil
	}
	held := s.held
	s.held = nil
	return s.send(s.heldNo, held)
}

// rollBack forgets everything behind the mark. Parts that were written behind it are written again or left out.
func (s *stream) rollBack(m mark) error {
	s.wait.Wait()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if s.number != m.number && s.held != nil && s.heldNo == m.number {
		s.buffer = s.held
	} else if s.number != m.number {
		s.buffer = s.buffer[:0] // the mark lies at the end of a part that was written
		m.length = 0
		m.number = s.firstAfter(m.offset)
	}
	for n := range s.parts {
		if n >= m.number {
			delete(s.parts, n)
		}
	}
	s.number, s.buffer, s.offset, s.held, s.open = m.number, s.buffer[:m.length], m.offset, nil, false
	return nil
}

// firstAfter returns the number of the part that begins at offset.
func (s *stream) firstAfter(offset int64) int {
	number := 1
	for size := int64(0); size < offset; number++ {
		size += s.parts[number].Size
	}
	return number
}

func (s *stream) flush() error {
	number, buffer := s.number, s.buffer
	s.number, s.buffer = s.number+1, nil
	if s.open && s.held == nil {
		s.held, s.heldNo = buffer, number
		return s.failure()
	}
	return s.send(number, buffer)
}

// send writes a part in the background, as soon as one of the places in flight is free.
func (s *stream) send(number int, buffer []byte) error {
	if s.upload == nil {
		u, err := s.vault.CreateUpload(s.ctx, s.key)
		if err != nil {
			return s.fail(err) // the vault's fault, not that of the object under way
		}
		s.upload = &u
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		return s.fail(s.ctx.Err())
	}
	s.wait.Go(func() {
		part, err := s.vault.UploadPart(s.ctx, *s.upload, number, buffer)
		if err != nil {
			_ = s.fail(err)
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.parts[number] = part
		<-s.slots
	})
	return s.failure()
}

// fail notes the first error of the vault: nothing can be written after it.
func (s *stream) fail(err error) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failed == nil {
		s.failed = err
	}
	return s.failed
}

func (s *stream) failure() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.failed
}

// close writes what is left and joins the parts. It returns the size and CRC-32 of the pack.
func (s *stream) close() (int64, uint32, error) {
	if len(s.buffer) > 0 {
		if err := s.flush(); err != nil {
			return 0, 0, err
		}
	}
	s.wait.Wait()
	if s.failed != nil {
		return 0, 0, s.failed
	}
	var size int64
	var crc uint32
	parts := make([]vault.Part, 0, len(s.parts))
	for n := 1; n < s.number; n++ {
		part := s.parts[n]
		parts = append(parts, part)
		crc = zipfmt.CombineCRC(crc, part.CRC32, part.Size)
		size += part.Size
	}
	if err := s.vault.Complete(s.ctx, *s.upload, parts, size, crc); err != nil {
		return 0, 0, err
	}
	s.closed = true
	return size, crc, nil
}

// abort frees the parts of a pack that was not closed.
func (s *stream) abort() {
	s.wait.Wait()
	if s.closed || s.upload == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	_ = s.vault.Abort(ctx, *s.upload)
}
