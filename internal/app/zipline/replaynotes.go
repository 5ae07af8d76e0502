package zipline

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"lifeboat/internal/app"
)

// hashes is a set of hashes. In a note it is 8 bytes for each, in base64.
type hashes []uint64

// MarshalJSON implements json.Marshaler.
func (d hashes) MarshalJSON() ([]byte, error) {
	packed := make([]byte, 0, 8*len(d))
	for _, each := range d {
		packed = binary.BigEndian.AppendUint64(packed, each)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(packed))
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *hashes) UnmarshalJSON(text []byte) error {
	var encoded string
	if err := json.Unmarshal(text, &encoded); err != nil {
		return err
	}
	packed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	if len(packed)%8 != 0 {
		return fmt.Errorf("%d bytes are no whole hashes", len(packed))
	}
	*d = make(hashes, 0, len(packed)/8)
	for each := range slices.Chunk(packed, 8) {
		*d = append(*d, binary.BigEndian.Uint64(each))
	}
	return nil
}

// sort makes a set ready for has.
func (d *hashes) sort() {
	slices.Sort(*d)
	*d = slices.Compact(*d)
}

// has reports whether a sorted set has a hash.
func (d hashes) has(each uint64) bool {
	_, found := slices.BinarySearch(d, each)
	return found
}

// hadDigest is what plan.Had keeps of a row of the target.
func hadDigest(array, id string) uint64 { return digestOf("had", array, id) }

const stagesNote = "stages"

// stages is the note of what a restore has finished. What people change on the target after that is theirs: a later run
// does not set it back.
type stages struct {
	Admin    string `json:"admin"` // id of the administrator: another one's, and the target is another, or was set up anew
	Names    bool   `json:"names"`
	Mended   bool   `json:"mended"`
	Settings bool   `json:"settings"`
	Metrics  bool   `json:"metrics"`
	// Confirmed is set at the end of the first Confirm; Differ are the hashes of what it has found other than in the
	// backup. All else that a later one finds was changed since.
	Confirmed bool   `json:"confirmed"`
	Differ    hashes `json:"differ,omitempty"`
}

// loadStages reads what this restore has finished on the target that the plan is for.
func loadStages(ctx context.Context, r *app.Replay, p *plan) (*stages, error) {
	var s stages
	if _, err := r.Notes.Get(ctx, stagesNote, &s); err != nil {
		return nil, fmt.Errorf("read the notes of this restore: %w", err)
	}
	if s.Admin != p.Admin.ID {
		s = stages{Admin: p.Admin.ID}
	}
	return &s, nil
}

func (s *stages) note(ctx context.Context, r *app.Replay) error {
	if err := r.Notes.Put(ctx, stagesNote, s); err != nil {
		return fmt.Errorf("note what is done: %w", err)
	}
	return nil
}

// imports forgets what has to be done again after an import.
func (s *stages) imports() {
	*s = stages{Admin: s.Admin, Settings: s.Settings, Metrics: s.Metrics}
}
