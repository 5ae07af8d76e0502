package pack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// cursorFormat is that of cursors; one of another format does not count.
const cursorFormat = 1

// restarts is how often the pack of a batch is begun anew, because what another call left of it is gone.
const restarts = 3

// cursor is how far a batch is whose pack streams: a line of JSON, then the bytes of the pack that are not written yet
// (streamState).
type cursor struct {
	Format   int         `json:"format"`
	Batch    int         `json:"batch"`
	Before   Result      `json:"before"` // what became of the items that don't stream
	Items    []Item      `json:"items"`  // that stream
	ID       string      `json:"id"`     // of their pack
	Next     int         `json:"next"`   // the item under way
	Under    *under      `json:"under,omitzero"`
	So       Result      `json:"so"` // what became of the items before it
	Restarts int         `json:"restarts,omitzero"`
	Stream   streamState `json:"stream"`
}

// at is how far a cursor is.
type at struct {
	restarts, next, attempt int
	offset                  int64
}

func (c cursor) at() at {
	a := at{c.Restarts, c.Next, 0, c.Stream.Offset}
	if c.Under != nil {
		a.attempt = c.Under.Attempt
	}
	return a
}

// PackSome is Pack in as many calls as it takes: false says that reading ended before the batch was done, and that the
// next call goes on from the cursor, which lies at key. ctx, which ends later, is for what remains to be done then: the
// parts in flight, and the cursor. A batch stops within streams only; what does not stream is done in one go. The packs
// and entries are those of an undisturbed Pack. A call that gets no further than the one before fails. Calls may be
// repeated.
func (p *Packer) PackSome(ctx, reading context.Context, key vault.Key, batch int, items []Item) (Result, bool, error) {
	names := &ids{packer: p, batch: batch}
	var l *large
	var err error
	if key != "" {
		if l, err = p.resume(ctx, batch, key); err != nil {
			return Result{}, false, err
		}
	}
	if l == nil {
		result, rest, err := p.packFirst(ctx, names, batch, items)
		if err != nil || len(rest) == 0 {
			return result, err == nil, err
		}
		if l, err = p.newLarge(ctx, names, rest, result); err != nil {
			return Result{}, false, err
		}
	}
	done, err := l.runOn(ctx, reading, key, names)
	if err != nil || !done {
		return Result{}, false, err
	}
	l.Before.add(l.So)
	return l.Before, true, nil
}

// runOn is run; a pack whose upload is gone, or is another's by now, is begun anew.
func (l *large) runOn(ctx, reading context.Context, key vault.Key, names *ids) (done bool, err error) {
	for {
		done, err = l.run(ctx, reading, key)
		kind := failure.KindOf(l.stream.failure())
		switch {
		case err == nil || !l.stream.kept || kind != failure.NotFound && kind != failure.Corrupt:
			if err != nil && !l.stream.kept && kind == failure.NotFound { // somebody gave up what this very call began
				err = failure.New(failure.Transient, "%w", err)
			}
			return done, err
		case l.Restarts == restarts:
			return false, failure.New(failure.Conflict, "what was written of the pack %s was gone %d times when it was to go on: %w", l.ID, restarts+1, err).
				WithHint("see that nothing but lifeboat gives up uploads in the vault's bucket, and that its lifecycle rule for unfinished uploads leaves them the time that the object takes")
		}
		if err := l.restart(ctx, names); err != nil {
			return false, err
		}
	}
}

// restart begins the pack anew, under the same name if nothing has it.
func (l *large) restart(ctx context.Context, names *ids) error {
	key := vault.Pack(l.Source, l.ID)
	if err := l.held(ctx); err != nil {
		return err
	}
	if err := l.Vault.AbortAll(ctx, key); err != nil {
		return err
	}
	_, err := l.Vault.Head(ctx, key)
	switch {
	case err == nil:
		if l.ID, err = names.take(ctx); err != nil {
			return err
		}
	case failure.KindOf(err) != failure.NotFound:
		return err
	}
	l.Restarts++
	l.begin(ctx)
	return nil
}

// held asks whether the run still holds its source. The upload of one that does not is given up: whoever closed it may have
// looked for uploads before.
func (l *large) held(ctx context.Context) error {
	if l.Hold == nil {
		return nil
	}
	err := l.Hold(ctx)
	if err != nil && failure.KindOf(err) == failure.Conflict {
		l.stream.kept = false
	}
	return err
}

// keep stores the cursor, unless that is where the call began.
func (l *large) keep(ctx context.Context, key vault.Key) error {
	state, bytes, err := l.stream.state()
	if err != nil {
		return err
	}
	resumed := l.stream.kept
	l.Stream = state
	if resumed && l.Next < len(l.Items) && l.at() == l.began {
		return failure.New(failure.Transient, "nothing more of batch %d could be packed in the time that there was", l.Batch)
	}
	line, err := json.Marshal(l.cursor)
	if err != nil {
		return err
	}
	if err := l.held(ctx); err != nil {
		return err
	}
	out := l.Vault.NewWriter(ctx, key, vault.Always())
	for _, piece := range append([][]byte{append(line, '\n')}, bytes...) {
		if _, err := out.Write(piece); err != nil {
			out.Abort()
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	l.stream.kept = true
	return nil
}

// resume returns the pack that another call began; nil where there is none, or none that can be used.
func (p *Packer) resume(ctx context.Context, batch int, key vault.Key) (*large, error) {
	body, _, err := p.Vault.Open(ctx, key, 0, -1)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			err = nil
		}
		return nil, err
	}
	defer body.Close()
	l := &large{Packer: p}
	input := bufio.NewReaderSize(body, 256<<10)
	line, err := input.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &l.cursor)
	}
	if err == nil && (l.Format != cursorFormat || l.Batch != batch) {
		err = errState
	}
	if err == nil {
		l.stream, err = resumeStream(ctx, p.Vault, vault.Pack(p.Source, l.ID), l.Stream, input)
	}
	if err == nil {
		err = l.whole()
	}
	switch kind := failure.KindOf(err); {
	case err == nil:
		l.began = l.at()
		return l, nil
	case kind == failure.Internal || kind == failure.Corrupt: // written by another version of lifeboat, or damaged
		return nil, nil
	}
	return nil, err
}

// readingState is a reading between two calls. Its hashes are states of this program's.
type readingState struct {
	Object app.Object `json:"object"`
	Size   int64      `json:"size"`
	CRC    []byte     `json:"crc"`
	SHA    []byte     `json:"sha"`
}

// MarshalJSON implements json.Marshaler.
func (r *reading) MarshalJSON() ([]byte, error) {
	crc, err := marshalHash(r.crc)
	if err != nil {
		return nil, err
	}
	sha, err := marshalHash(r.sha)
	if err != nil {
		return nil, err
	}
	return json.Marshal(readingState{r.object, r.size, crc, sha})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *reading) UnmarshalJSON(data []byte) error {
	var st readingState
	if err := json.Unmarshal(data, &st); err != nil {
		return err
	}
	r.object, r.size, r.crc, r.sha = st.Object, st.Size, crc32.NewIEEE(), sha256.New()
	if err := unmarshalHash(r.crc, st.CRC); err != nil {
		return err
	}
	return unmarshalHash(r.sha, st.SHA)
}

var errHash = errors.New("a hash cannot keep its state")

func marshalHash(h io.Writer) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errHash
	}
	return m.MarshalBinary()
}

func unmarshalHash(h io.Writer, state []byte) error {
	m, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return errHash
	}
	return m.UnmarshalBinary(state)
}
