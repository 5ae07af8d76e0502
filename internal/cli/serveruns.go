package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/setup"
)

// Bounds of what `serve` starts.
const (
	maxRuns = 2    // at the same time
	maxKeys = 1000 // that it remembers, the newest ones, until it ends
)

// runs are the backups and restores that the API of `serve` has started in this process. It implements api.Starter.
type runs struct {
	cli     *cli // without progress
	session *session
	ctx     context.Context // of serve: the runs end with it, not with the request that started them
	at      sync.WaitGroup

	mutex sync.Mutex // also while a run is prepared: requests of equal keys come one after the other
	busy  map[string]bool
	keys  []startedKey // oldest first
}

// startedKey is what a key has started.
type startedKey struct {
	key, request, id string
}

func (c *cli) newRuns(ctx context.Context, s *session) *runs {
	quiet := *c
	quiet.quiet = true
	return &runs{cli: &quiet, session: s, ctx: ctx, busy: map[string]bool{}}
}

// wait waits until every run has ended; each ends soon after ctx has.
func (r *runs) wait() { r.at.Wait() }

// StartBackup implements api.Starter.
func (r *runs) StartBackup(_ context.Context, run events.Run, key string) (backup.ID, error) {
	source, err := r.session.config.Source(string(run.Source))
	if err == nil {
		run.Scope, err = setup.Scope(source, run.Scope)
	}
	if err != nil {
		return "", err
	}
	id, err := r.once(key, run, "source "+string(run.Source), func() (string, func(), error) {
		runner, err := r.cli.runner(r.session, run.Source)
		if err != nil {
			return "", nil, err
		}
		run.ID = backup.NewID(time.Now())
		j, _, err := runner.pick(r.ctx, run) // it may go on with one that was interrupted, which has an id
		if err != nil {
			return "", nil, err
		}
		return string(j.run.ID), func() {
			_, _, err := runner.run(r.ctx, run)
			r.ended("backup", string(j.run.ID), err)
		}, nil
	})
	return backup.ID(id), err
}

// StartRestore implements api.Starter.
func (r *runs) StartRestore(ctx context.Context, restore events.Restore, key string) (backup.RestoreID, error) {
	if err := setup.Asked(r.session.config, restore); err != nil {
		return "", err
	}
	restorer, err := r.cli.restorer(r.session)
	if err != nil {
		return "", err
	}
	target, err := restorer.targets.Name(restore.To)
	if err != nil {
		return "", err
	}
	id, err := r.once(key, restore, "target "+target, func() (string, func(), error) {
		prepared, err := restorer.steps.Prepare(ctx, restore)
		return string(prepared.ID), func() {
			_, err := restorer.run(r.ctx, prepared)
			r.ended("restore", string(prepared.ID), err)
		}, err
	})
	return backup.RestoreID(id), err
}

// once starts what begin has prepared, unless its key has been used, its place is taken, or too much is at work.
func (r *runs) once(key string, request any, place string, begin func() (id string, work func(), err error)) (string, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	digest := digestOf(request)
	if i := slices.IndexFunc(r.keys, func(k startedKey) bool { return key != "" && k.key == key }); i >= 0 {
		if r.keys[i].request != digest {
			return "", failure.New(failure.Conflict, "the same Idempotency-Key came with another request before").
				WithHint("send a key of its own with each request, and the same one only to repeat it")
		}
		return r.keys[i].id, nil
	}
	switch {
	case r.ctx.Err() != nil:
		return "", failure.New(failure.Canceled, "serve is stopping")
	case r.busy[place]:
		return "", failure.New(failure.Conflict, "another run works on the %s", place).WithHint("wait until it has ended")
	case len(r.busy) == maxRuns:
		return "", failure.New(failure.Exhausted, "%d runs are at work", maxRuns).WithHint("wait until one has ended")
	}
	id, work, err := begin()
	if err != nil {
		return "", err
	}
	r.remember(startedKey{key, digest, id})
	r.busy[place] = true
	r.at.Go(func() {
		defer r.free(place)
		work()
	})
	return id, nil
}

func (r *runs) remember(k startedKey) {
	if k.key == "" {
		return
	}
	if r.keys = append(r.keys, k); len(r.keys) > maxKeys {
		r.keys = slices.Delete(r.keys, 0, 1)
	}
}

func (r *runs) free(place string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.busy, place)
}

// ended says in the log how a run ended that nobody waits for. Its record says it, too, and so does its mail.
func (r *runs) ended(what, id string, err error) {
	if err != nil {
		r.cli.warn("%s %s, which the API started: %v", what, id, err)
	}
}

func digestOf(request any) string {
	text, _ := json.Marshal(request) // cannot fail: it came as JSON
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
