package pack

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

const (
	streamPart  = 8 << 20  // bytes of a part, more where the pack would need too many
	streamParts = 9_000    // of the 10,000 that an upload may have
	growAfter   = 1_000    // so many parts, their size doubles: an object may be longer than it was listed
	grownPart   = 64 << 20 // bytes that parts grow to; so 490 GiB fit whatever was listed
	inFlight    = 2        // parts that are written while the next is read
)

// stream writes entries into one multipart upload. Bodies go out as they come; the part that holds an entry's
// header is held back until the entry is read and its CRC known (parts may be written in any order). So an entry of
// any size costs at most inFlight + 2 parts of memory.
type stream struct {
	ctx    context.Context
	vault  *vault.Vault
	key    vault.Key
	part   int
	equal  bool // every part but the last has the same size; then a header may cross from one part to the next
	upload *vault.Upload

	number int        // of the part under construction, from 1
	buffer []byte     // its bytes
	offset int64      // of the next byte in the pack
	entry  int64      // where the header of the entry under way lies in the pack
	length int64      // of that header
	open   bool       // an entry is under way
	held   []heldPart // the parts with that header, once they are full

	slots  chan struct{}
	wait   sync.WaitGroup
	mutex  sync.Mutex
	parts  map[int]vault.Part
	failed error
	closed bool
	kept   bool // a cursor names the upload: another call goes on with it
}

// heldPart is a part that waits for its header.
type heldPart struct {
	number int
	start  int64 // in the pack
	bytes  []byte
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

// limit returns how many bytes the part under construction takes.
func (s *stream) limit() int {
	if s.equal {
		return s.part
	}
	return max(s.part, min(grownPart, s.part<<min((s.number-1)/growAfter, 8)))
}

// mark is a place to roll back to: between two entries.
type mark struct {
	Number int   `json:"number"` // of the part under construction
	Length int   `json:"length"` // of its bytes
	Offset int64 `json:"offset"` // in the pack
}

func (s *stream) mark() mark { return mark{s.number, len(s.buffer), s.offset} }

// begin reserves the header of an entry. Unless all parts are equal, it does not cross from one part to the next.
func (s *stream) begin(header int64) error {
	if full := len(s.buffer) == s.limit(); full || !s.equal && len(s.buffer)+int(header) > s.limit() {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.entry, s.length, s.open = s.offset, header, true
	for rest := int(header); rest > 0; {
		if len(s.buffer) == s.limit() {
			if err := s.flush(); err != nil {
				return err
			}
		}
		n := min(rest, s.limit()-len(s.buffer))
		s.buffer = append(s.buffer, make([]byte, n)...)
		s.offset += int64(n)
		rest -= n
	}
	return nil
}

// copy appends a body until ctx ends, showing every piece to saw.
func (s *stream) copy(ctx context.Context, body io.Reader, saw func([]byte)) error {
	for {
		if len(s.buffer) == s.limit() {
			if err := s.flush(); err != nil {
				return err
			}
		}
		room := min(s.limit()-len(s.buffer), 256<<10)
		s.grow(room)
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
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// grow makes room in the part under construction. A part of the usual size grows as it fills, for a pack may be small; a
// larger one is part of a large pack, and growing would take twice its size.
func (s *stream) grow(room int) {
	if whole := s.limit() - len(s.buffer); s.limit() > streamPart && cap(s.buffer)-len(s.buffer) < room {
		s.buffer = append(make([]byte, 0, s.limit()), s.buffer...)
	} else {
		s.buffer = slices.Grow(s.buffer, min(room, whole))
	}
}

// finish writes the header of the entry under way into its place.
func (s *stream) finish(e zipfmt.Entry) error {
	header := e.AppendLocal(nil)
	for _, part := range append(s.held, heldPart{s.number, s.offset - int64(len(s.buffer)), s.buffer}) {
		from, to := max(s.entry, part.start), min(s.entry+s.length, part.start+int64(len(part.bytes)))
		if from < to {
			copy(part.bytes[from-part.start:to-part.start], header[from-s.entry:])
		}
	}
	held := s.held
	s.open, s.held = false, nil
	for _, part := range held {
		if err := s.send(part.number, part.bytes); err != nil {
			return err
		}
	}
	return nil
}

// rollBack forgets everything behind the mark. Parts that were written behind it are written again or left out.
func (s *stream) rollBack(m mark) error {
	s.wait.Wait()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failed != nil {
		return s.failed
	}
	held := slices.IndexFunc(s.held, func(part heldPart) bool { return part.number == m.Number })
	if held >= 0 {
		s.buffer = s.held[held].bytes
	} else if s.number != m.Number {
		s.buffer = s.buffer[:0] // the mark lies at the end of a part that was written
		m.Length = 0
		m.Number = s.firstAfter(m.Offset)
	}
	for n := range s.parts {
		if n >= m.Number {
			delete(s.parts, n)
		}
	}
	s.number, s.buffer, s.offset, s.held, s.open = m.Number, s.buffer[:m.Length], m.Offset, nil, false
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
	if s.number > vault.MaxParts {
		return s.fail(failure.New(failure.Exhausted, "the pack %s would need more than %d parts", s.key, vault.MaxParts).
			WithHint("back up again: by then it is known how large its objects are"))
	}
	number, buffer, start := s.number, s.buffer, s.offset-int64(len(s.buffer))
	s.number, s.buffer = s.number+1, nil
	if s.open && start < s.entry+s.length {
		s.held = append(s.held, heldPart{number, start, buffer})
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

// end writes what is left.
func (s *stream) end() error {
	if len(s.buffer) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

// close joins the parts, once all is written. It returns the size and CRC-32 of the pack.
func (s *stream) close() (int64, uint32, error) {
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
		return 0, 0, s.fail(err)
	}
	s.closed = true
	return size, crc, nil
}

// abort frees the parts of a pack that was not closed, and that no other call goes on with.
func (s *stream) abort() {
	s.wait.Wait()
	if s.closed || s.kept || s.upload == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	_ = s.vault.Abort(ctx, *s.upload)
}
