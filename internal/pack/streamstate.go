package pack

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// streamState is a stream between two calls. The bytes of its parts that are not written yet follow it: those that wait
// for their header, then those of the part under construction.
type streamState struct {
	Part   int           `json:"part"`
	Equal  bool          `json:"equal,omitzero"`
	Upload *vault.Upload `json:"upload,omitzero"`
	Number int           `json:"number"`
	Offset int64         `json:"offset"`
	Entry  int64         `json:"entry"`
	Length int64         `json:"length"`
	Open   bool          `json:"open,omitzero"`
	Held   []heldState   `json:"held,omitempty"`
	Buffer int           `json:"buffer"` // bytes of the part under construction
	Parts  []vault.Part  `json:"parts"`
}

type heldState struct {
	Number int   `json:"number"`
	Start  int64 `json:"start"`
	Bytes  int   `json:"bytes"`
}

// state waits for the parts in flight and returns the stream as it is, and the bytes that follow it.
func (s *stream) state() (streamState, [][]byte, error) {
	s.wait.Wait()
	if err := s.failure(); err != nil {
		return streamState{}, nil, err
	}
	st := streamState{
		Part: s.part, Equal: s.equal, Upload: s.upload, Number: s.number, Offset: s.offset, Entry: s.entry, Length: s.length, Open: s.open,
		Buffer: len(s.buffer), Parts: make([]vault.Part, 0, len(s.parts)),
	}
	var bytes [][]byte
	for _, h := range s.held {
		st.Held = append(st.Held, heldState{h.number, h.start, len(h.bytes)})
		bytes = append(bytes, h.bytes)
	}
	for _, n := range slices.Sorted(maps.Keys(s.parts)) {
		st.Parts = append(st.Parts, s.parts[n])
	}
	return st, append(bytes, s.buffer), nil
}

// errState says that a stored state is none.
var errState = errors.New("the state of a stream is not whole")

// resumeStream goes on with a stream, whose bytes are read from body.
func resumeStream(ctx context.Context, v *vault.Vault, key vault.Key, st streamState, body io.Reader) (*stream, error) {
	s := newStream(ctx, v, key, 0, int64(st.Part))
	s.equal, s.upload, s.number, s.offset = st.Equal, st.Upload, st.Number, st.Offset
	s.entry, s.length, s.open, s.kept = st.Entry, st.Length, st.Open, true
	for _, part := range st.Parts {
		s.parts[part.Number] = part
	}
	for _, h := range st.Held {
		data, err := bytesOf(body, h.Bytes)
		if err != nil {
			return nil, err
		}
		s.held = append(s.held, heldPart{h.Number, h.Start, data})
	}
	var err error
	if s.buffer, err = bytesOf(body, st.Buffer); err == nil {
		err = s.whole()
	}
	if err == nil && len(s.parts) != len(st.Parts) { // one of them twice
		err = errState
	}
	return s, err
}

// bytesOf reads so many bytes, no more than a part may have.
func bytesOf(body io.Reader, n int) ([]byte, error) {
	if n < 0 || n > vault.MaxPart {
		return nil, errState
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(body, data); err != nil {
		if failure.KindOf(err) != failure.Internal { // the vault's
			return nil, err
		}
		return nil, errState
	}
	return data, nil
}
