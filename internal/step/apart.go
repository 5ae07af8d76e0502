package step

import (
	"lifeboat/internal/app"
	"lifeboat/internal/pack"
)

// apart notes what streams only because the source's own credentials alone reach it.
type apart struct {
	why   string // "": the source is not apart
	floor int64  // bytes from which on the store would copy an object by itself
	found bool   // such an object
}

func (a *apart) see(item pack.Item) {
	a.found = a.found || item.Object != nil && !item.Object.Dir && item.Object.Size >= a.floor
}

// findings is the note that such objects stream, where there are any.
func (a *apart) findings() []app.Finding {
	if a.why == "" || !a.found {
		return nil
	}
	return []app.Finding{{
		Severity: app.Note, Kind: "streamed",
		Message: "objects were read and written again, which takes longer than to have the store copy them: " + a.why,
	}}
}
