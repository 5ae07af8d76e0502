package api

import (
	"context"
	"iter"
	"net/http"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
)

// Restores reads the catalog of restores. A catalog.Catalog does.
type Restores interface {
	// Restore returns one record: NotFound where there is none.
	Restore(ctx context.Context, id backup.RestoreID) (catalog.Restore, error)
	// Restores yields all, newest first. One that cannot be read is an error with nothing but its id.
	Restores(ctx context.Context) iter.Seq2[catalog.Restore, error]
}

// unreadable is a record that is there and can't be read.
type unreadable struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// listing is the answer of GET /restores.
type listing struct {
	Restores   []catalog.Restore `json:"restores"`             // newest first, without steps, findings, forecast and confirmation
	More       bool              `json:"more"`                 // there are older ones
	Unreadable []unreadable      `json:"unreadable,omitempty"` // of all restores
}

func (s *server) listRestores(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	answer := listing{Restores: []catalog.Restore{}}
	for record, err := range s.Restores.Restores(r.Context()) {
		switch {
		case err != nil && record.ID == "": // of the listing itself
			s.failAPI(w, r, err)
			return
		case err != nil:
			if len(answer.Unreadable) < maxLimit {
				answer.Unreadable = append(answer.Unreadable, unreadable{string(record.ID), failure.KindOf(err).String(), readable(err)})
			}
		case len(answer.Restores) == limit:
			answer.More = true // what cannot be read comes after all others
		default:
			answer.Restores = append(answer.Restores, brief(record))
		}
	}
	s.answer(w, r, answer)
}

// brief leaves out of a record what is long; its totals stay.
func brief(r catalog.Restore) catalog.Restore {
	r.Steps, r.Forecast, r.Confirmation, r.Notes, r.Problems = nil, nil, nil, nil, nil
	return r
}

func (s *server) showRestore(w http.ResponseWriter, r *http.Request) {
	id, err := backup.ParseRestoreID(r.PathValue("id"))
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	record, err := s.Restores.Restore(r.Context(), id)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	s.answer(w, r, record)
}
