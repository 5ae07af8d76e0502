package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// knownAs is what begin has made of the input of an execution: restores/by-execution/<hash of its name>.json. The input of
// one that a person or a schedule started says neither an id nor, with "latest", which backup; who begins again, closes or
// tells later must mean the same restore, whatever backups there are by then.
type knownAs struct {
	Restore backup.RestoreID `json:"restore"`
	Trial   backup.RestoreID `json:"trial,omitempty"`
	Backup  string           `json:"backup,omitempty"` // events.From.Backup, resolved
	Began   time.Time        `json:"began"`
}

// byExecution is the prefix of all of them.
const byExecution vault.Key = "restores/by-execution/"

// knownFor is how long it is kept of a restore that has not ended well: longer than an execution may take, and its last event be delivered again.
const knownFor = 14 * 24 * time.Hour

func executionKey(name string) vault.Key {
	sum := sha256.Sum256([]byte(name))
	return byExecution + vault.Key(hex.EncodeToString(sum[:16])+".json")
}

// knownBy returns what begin has made of an execution's input.
func (s *Steps) knownBy(ctx context.Context, execution string) (k knownAs, there bool, err error) {
	if execution == "" {
		return k, false, nil
	}
	_, err = s.Vault.GetJSON(ctx, executionKey(execution), &k)
	if kind := failure.KindOf(err); err != nil && (kind == failure.NotFound || kind == failure.Corrupt) {
		return knownAs{}, false, nil
	}
	return k, err == nil, err
}

// know keeps it, and removes those that nobody will ask for any more. Where another call of the same begin was faster, and
// has found another backup, the next attempt finds that one.
func (s *Steps) know(ctx context.Context, r events.Restore) error {
	if r.Execution == "" {
		return nil
	}
	k := knownAs{r.ID, r.Trial, r.From.Backup, s.Now().UTC()}
	_, err := s.Vault.PutJSON(ctx, executionKey(r.Execution), k, vault.IfAbsent())
	if err == nil {
		return s.forgetOld(ctx)
	}
	if failure.KindOf(err) != failure.Conflict {
		return err
	}
	before, there, readErr := s.knownBy(ctx, r.Execution)
	switch {
	case readErr != nil:
		return readErr
	case !there: // it is damaged
		_, err = s.Vault.PutJSON(ctx, executionKey(r.Execution), k, vault.Always())
		return err
	case before.Restore == r.ID:
		return nil
	}
	return failure.New(failure.Transient, "another call has begun this restore at the same time")
}

// unknow removes what was kept of an execution whose restore has ended well: nobody closes it from outside.
func (s *Steps) unknow(ctx context.Context, r events.Restore) error {
	if r.Execution == "" || s.Local {
		return nil
	}
	return s.Vault.Delete(ctx, executionKey(r.Execution))
}

// forgetOld removes what was kept for executions that are over for long.
func (s *Steps) forgetOld(ctx context.Context) error {
	for info, err := range s.Vault.List(ctx, byExecution) {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(string(info.Key), ".json") || s.Now().Sub(info.Modified) < knownFor {
			continue
		}
		if err := s.Vault.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}

// Known returns the id of the restore that an execution has begun, of which only the input is known; "" where it has begun
// none.
func (s *Steps) Known(ctx context.Context, execution string) (backup.RestoreID, error) {
	k, _, err := s.knownBy(ctx, execution)
	return k.Restore, err
}

// meant returns the restore that the input of an execution means, with its id: what begin has made of it, or what it would.
func (s *Steps) meant(ctx context.Context, r events.Restore) (events.Restore, error) {
	if r.ID != "" {
		return r, nil
	}
	k, there, err := s.knownBy(ctx, r.Execution)
	if err != nil {
		return r, err
	}
	if !there {
		r, _, err = s.complete(ctx, r)
		return r, err
	}
	r = withDefaults(r)
	r.ID, r.Trial = k.Restore, k.Trial
	if k.Backup != "" {
		r.From.Backup = k.Backup
	}
	return r, nil
}
