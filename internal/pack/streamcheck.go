package pack

import "lifeboat/internal/vault"

// whole refuses a stream that was kept wrongly: each part before the one under construction is written or waits for its
// header, none is both, and together they are what the pack has so far.
func (s *stream) whole() error {
	if s.part < vault.MinPart || s.part > vault.MaxPart || s.number < 1 || s.number > vault.MaxParts+1 || len(s.buffer) > s.limit() {
		return errState
	}
	sizes := s.sizes()
	if len(sizes) != len(s.parts)+len(s.held)+1 || len(sizes) != s.number {
		return errState
	}
	if len(s.parts) > 0 && (s.upload == nil || s.upload.Key != s.key || s.upload.ID == "") {
		return errState
	}
	starts, end := starts(sizes)
	for _, h := range s.held {
		if h.number >= s.number || h.start != starts[h.number] {
			return errState
		}
	}
	for n, size := range sizes {
		if _, known := starts[n]; !known || size < 0 || size > vault.MaxPart {
			return errState
		}
	}
	if end != s.offset {
		return errState
	}
	return nil
}

// sizes returns the bytes of every part: those that are written, those that wait, and the one under construction.
func (s *stream) sizes() map[int]int64 {
	sizes := map[int]int64{}
	for n, part := range s.parts {
		sizes[n] = part.Size
	}
	for _, h := range s.held {
		sizes[h.number] = int64(len(h.bytes))
	}
	sizes[s.number] = int64(len(s.buffer))
	return sizes
}

// starts returns where the parts from 1 on begin, up to the first that is missing, and where the last of these ends.
func starts(sizes map[int]int64) (all map[int]int64, end int64) {
	all = map[int]int64{}
	for n := range len(sizes) {
		size, ok := sizes[n+1]
		if !ok {
			break
		}
		all[n+1] = end
		end += size
	}
	return all, end
}

// whole refuses a cursor whose entry under way is not where its stream says.
func (l *large) whole() error {
	if l.Next < 0 || l.Next > len(l.Items) || l.Restarts < 0 {
		return errState
	}
	u, s := l.Under, l.stream
	if u == nil {
		return nil
	}
	sizes := s.sizes()
	starts, _ := starts(sizes)
	start, known := starts[u.Mark.Number]
	if !known || u.Mark.Length < 0 || int64(u.Mark.Length) > sizes[u.Mark.Number] || start+int64(u.Mark.Length) != u.Mark.Offset {
		return errState
	}
	switch r := u.Reading; {
	case l.Next == len(l.Items), r != nil && (r.size < 0 || !s.open || s.length < 0 || s.entry != u.Mark.Offset || s.entry+s.length+r.size != s.offset):
		return errState
	case r == nil && u.Mark.Offset != s.offset:
		return errState
	}
	return nil
}
