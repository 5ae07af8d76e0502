package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// putting is how far one batch is. Where calls have a limit, it is kept in putting/<n>.json from the first call that did
// not do all of the batch to the last one: which units are done, and what is written of the large objects that are not.
// Units that were done are not looked at again.
type putting struct {
	puttingFile
	steps   *Steps
	restore backup.RestoreID
	batch   int
	limit   limit
	goesOn  bool        // an earlier call has begun it
	before  puttingFile // as it was when the call began

	mutex sync.Mutex
	moved bool // this call has got on
}

// puttingFile is what is kept.
type puttingFile struct {
	Before  *restore.Result         `json:"before,omitempty"` // what an earlier put of the same batch had come to, and what calls that fell had put of the units that are not done
	Result  restore.Result          `json:"result"`           // of the units that are done
	Done    []byte                  `json:"done"`             // a bit for each unit
	Uploads map[int]*restore.Upload `json:"uploads"`          // by unit
}

// resumer is a destination that writes large objects in several calls.
type resumer interface {
	Resume(ctx context.Context, u restore.Unit, at *restore.Upload, stop <-chan struct{}) (*restore.Upload, bool, error)
	Abandon(ctx context.Context, u restore.Upload)
}

var _ resumer = (*restore.BucketTarget)(nil)

func puttingKey(id backup.RestoreID, batch int) vault.Key {
	return vault.RestoreWork(id, fmt.Sprintf("putting/%d.json", batch))
}

func fellKey(id backup.RestoreID, batch int) vault.Key {
	return vault.RestoreWork(id, fmt.Sprintf("fell/%d.json", batch))
}

// puttingSoFar returns how far a batch is.
func (s *Steps) puttingSoFar(ctx context.Context, id backup.RestoreID, batch int, limit limit) (*putting, error) {
	p := &putting{steps: s, restore: id, batch: batch, limit: limit}
	if limit.any() {
		_, err := s.Vault.GetJSON(ctx, puttingKey(id, batch), &p.puttingFile)
		if err != nil && failure.KindOf(err) != failure.NotFound {
			return nil, err
		}
		p.goesOn = err == nil
	}
	if p.Uploads == nil {
		p.Uploads = map[int]*restore.Upload{}
	}
	if p.goesOn {
		p.before = p.puttingFile
		p.before.Done = slices.Clone(p.Done)
		return p, nil
	}
	before, err := s.putBefore(ctx, id, batch)
	if err != nil {
		return nil, err
	}
	p.Before = before
	p.before = p.puttingFile
	return p, nil
}

// putBefore returns what an earlier put of a batch had come to, as a whole or until it fell; nil where there was none.
func (s *Steps) putBefore(ctx context.Context, id backup.RestoreID, batch int) (*restore.Result, error) {
	var before restore.Result
	_, err := s.Vault.GetJSON(ctx, resultKey(id, batch), &before)
	if err == nil {
		return &before, nil
	}
	if failure.KindOf(err) != failure.NotFound {
		return nil, err
	}
	before = restore.Result{}
	_, err = s.Vault.GetJSON(ctx, fellKey(id, batch), &before)
	if err == nil {
		return &before, nil
	}
	if failure.KindOf(err) != failure.NotFound { // it is for people: the files are put all the same
		s.Log.Info("what an earlier put has come to cannot be read", "batch", batch, "error", err)
	}
	return nil, nil
}

// is reports whether a unit is done.
func (p *putting) is(k int) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return k/8 < len(p.Done) && p.Done[k/8]&(1<<(k%8)) != 0
}

// all reports whether n units are done.
func (p *putting) all(n int) bool {
	for k := range n {
		if !p.is(k) {
			return false
		}
	}
	return true
}

// unit does one unit, or a part of it.
func (p *putting) unit(ctx context.Context, stop <-chan struct{}, k int, u restore.Unit, to restore.Destination) error {
	select {
	case <-stop: // while it waited for its turn
		return ctx.Err()
	default:
	}
	if p.goesOn {
		u.Fresh = false // some of it may be there by now
	}
	there, resumes := to.(resumer)
	if !resumes || !p.limit.any() {
		err := to.Do(ctx, u)
		p.did(k, nil, 0, err == nil)
		return err
	}
	p.mutex.Lock()
	at := p.Uploads[k]
	p.mutex.Unlock()
	written := at.Written()
	more, done, err := there.Resume(ctx, u, at, stop)
	p.did(k, more, written, done)
	return err
}

// did notes what became of a unit of which a number of parts had been written before.
func (p *putting) did(k int, more *restore.Upload, written int, done bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if done {
		for len(p.Done) <= k/8 {
			p.Done = append(p.Done, 0)
		}
		p.Done[k/8] |= 1 << (k % 8)
	}
	delete(p.Uploads, k)
	if more != nil {
		p.Uploads[k] = more
	}
	p.moved = p.moved || done || more.Written() > written
}

// pause keeps how far the batch is, for the next call.
func (p *putting) pause(ctx context.Context) error {
	if !p.moved {
		return stuck("the restore", fmt.Sprintf("the next piece of batch %d", p.batch))
	}
	return p.keep(ctx, p.puttingFile)
}

// fell keeps what became of a call that has failed: what is written of large objects, and what was put, for the record of
// the restore and for the next call. The units of the call are done again, as far as they are not there.
func (p *putting) fell(ctx context.Context, now restore.Result) error {
	now.Problems, now.Total = nil, 0 // the next call finds them again
	file := p.before
	if file.Before != nil {
		now = fallen(*file.Before, now)
	}
	file.Before, file.Uploads = &now, p.Uploads
	sum := now
	sum.Add(file.Result)
	if err := p.keepFell(ctx, sum); err != nil {
		p.steps.Log.Info("what was put cannot be noted", "error", err)
	}
	if !p.limit.any() || len(file.Uploads) == 0 && !p.goesOn {
		return nil
	}
	return p.keep(ctx, file)
}

func (p *putting) keepFell(ctx context.Context, sum restore.Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	_, err := p.steps.Vault.PutJSON(ctx, fellKey(p.restore, p.batch), sum, vault.Always())
	return err
}

func (p *putting) keep(ctx context.Context, file puttingFile) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	_, err := p.steps.Vault.PutJSON(ctx, puttingKey(p.restore, p.batch), file, vault.Always())
	return err
}

// forget removes what was kept.
func (p *putting) forget(ctx context.Context) error {
	if !p.goesOn {
		return nil
	}
	return p.steps.Vault.Delete(ctx, puttingKey(p.restore, p.batch))
}

// abandonTime bounds how long it takes to free what is written of large objects.
const abandonTime = 30 * time.Second

// abandon frees what is written of large objects that will not be completed. The restore has ended whatever comes of it:
// what is left is for the target's own rule about incomplete uploads.
func (s *Steps) abandon(ctx context.Context, r events.Restore) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	if err := s.abandoned(ctx, r); err != nil {
		s.Log.Warn("what is written of large objects could not be freed", "restore", r.ID, "error", err)
	}
}

func (s *Steps) abandoned(ctx context.Context, r events.Restore) error {
	var all []restore.Upload
	for info, err := range s.Vault.List(ctx, vault.RestoreWork(r.ID, "putting/")) {
		var file puttingFile
		if err == nil {
			_, err = s.Vault.GetJSON(ctx, info.Key, &file)
		}
		if err != nil {
			return err
		}
		for _, u := range file.Uploads {
			all = append(all, *u)
		}
	}
	if len(all) == 0 {
		return nil
	}
	record, err := s.catalog().Restore(ctx, r.ID)
	if err != nil {
		return err
	}
	place, err := s.Targets.Open(ctx, r.ID, r.To, Backup{Kind: record.Kind}, r.Wishes)
	if err != nil {
		return err
	}
	defer place.Close()
	if place.Put == nil {
		return nil
	}
	to, err := place.Put(ctx, Files{Existing: true})
	if err != nil {
		return err
	}
	defer to.Close()
	if there, ok := to.(resumer); ok {
		for _, u := range all {
			there.Abandon(ctx, u)
		}
	}
	return nil
}
