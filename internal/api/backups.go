package api

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// backupListing is the answer of GET /backups.
type backupListing struct {
	Backups    []catalog.Record `json:"backups"`              // newest first, without findings
	More       bool             `json:"more"`                 // there are older ones
	Unreadable []unreadable     `json:"unreadable,omitempty"` // of those that would be among them
}

// place is what the key of a record says.
type place struct {
	source backup.Source
	id     backup.ID
}

// places yields where the records of a source lie; of every source when it is empty.
func (s *server) places(ctx context.Context, source backup.Source) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		for info, err := range s.Vault.List(ctx, vault.Records(source)) {
			if err != nil {
				yield(place{}, err)
				return
			}
			name, _ := strings.CutPrefix(string(info.Key), string(vault.Records("")))
			id, err := backup.ParseID(strings.TrimSuffix(path.Base(name), ".json"))
			if err == nil && !yield(place{backup.Source(path.Dir(name)), id}, nil) {
				return
			}
		}
	}
}

func (s *server) listBackups(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	source := backup.Source("")
	if name := r.URL.Query().Get("source"); name != "" {
		if source, err = backup.ParseSource(name); err != nil {
			s.failAPI(w, r, err)
			return
		}
	}
	var all []place
	for p, err := range s.places(r.Context(), source) {
		if err != nil {
			s.failAPI(w, r, err)
			return
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(cmp.Compare(b.id, a.id), cmp.Compare(a.source, b.source)) }) // an id begins with its time
	answer := backupListing{Backups: []catalog.Record{}, More: len(all) > limit}
	records, errs := s.readBackups(r.Context(), all[:min(limit, len(all))])
	for i, err := range errs {
		switch {
		case err != nil && failure.KindOf(err) == failure.NotFound: // it was removed since it was listed
		case err != nil && (failure.KindOf(err) == failure.Transient || failure.KindOf(err) == failure.Canceled):
			s.failAPI(w, r, err)
			return
		case err != nil:
			answer.Unreadable = append(answer.Unreadable, unreadable{string(all[i].id), failure.KindOf(err).String(), readable(err)})
		default:
			answer.Backups = append(answer.Backups, briefBackup(records[i]))
		}
	}
	s.answer(w, r, answer)
}

// readers is how many records are read at the same time.
const readers = 16

func (s *server) readBackups(ctx context.Context, at []place) ([]catalog.Record, []error) {
	records, errs := make([]catalog.Record, len(at)), make([]error, len(at))
	var group errgroup.Group
	group.SetLimit(readers)
	for i, p := range at {
		group.Go(func() error {
			records[i], errs[i] = s.Records.Record(ctx, p.source, p.id)
			return nil
		})
	}
	_ = group.Wait() // each has an error of its own
	return records, errs
}

// briefBackup leaves out of a record what is long; its totals stay.
func briefBackup(r catalog.Record) catalog.Record {
	r.Notes, r.Problems, r.Archive.Volumes = nil, nil, nil
	return r
}

func (s *server) showBackup(w http.ResponseWriter, r *http.Request) {
	id, err := backup.ParseID(r.PathValue("id"))
	if err != nil {
		s.failAPI(w, r, err)
		return
	}
	for p, err := range s.places(r.Context(), "") {
		if err != nil {
			s.failAPI(w, r, err)
			return
		}
		if p.id != id {
			continue
		}
		record, err := s.Records.Record(r.Context(), p.source, id)
		if err != nil {
			s.failAPI(w, r, err)
			return
		}
		s.answer(w, r, record)
		return
	}
	s.failAPI(w, r, failure.New(failure.NotFound, "there is no backup %s", id))
}
