package link

import (
	"context"
	"fmt"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// Format is the version of states that this program writes; it refuses to read a later one.
const Format = 1

// State is what the vault knows of one link, at links/<id>.json. It never holds the token.
type State struct {
	Format     int           `json:"format"`
	ID         string        `json:"id"`
	Source     backup.Source `json:"source"`
	Backup     backup.ID     `json:"backup"`
	Recipient  string        `json:"recipient"`
	Generation int           `json:"generation"` // from 1
	Created    time.Time     `json:"created"`
	Expires    time.Time     `json:"expires"`
	Mints      int           `json:"mints"`
	MaxMints   int           `json:"max_mints"`
	NeedsCode  bool          `json:"needs_code"`
	WrongCodes int           `json:"wrong_codes"`
	Revoked    bool          `json:"revoked"`
	LastMinted time.Time     `json:"last_minted,omitzero"`
}

// Reason is why a link opens nothing.
type Reason string

// The reasons.
const (
	Withdrawn Reason = "withdrawn"
	Expired   Reason = "expired"
	Locked    Reason = "locked"  // too many wrong codes
	UsedUp    Reason = "used up" // too many downloads
	WrongCode Reason = "wrong code"
	NoCode    Reason = "no code"
)

// Refusal returns why a link in this state opens nothing at the given time, or "".
func (s State) Refusal(now time.Time) Reason {
	switch {
	case s.Revoked:
		return Withdrawn
	case !now.Before(s.Expires):
		return Expired
	case s.WrongCodes >= MaxWrongCodes:
		return Locked
	case s.Mints >= s.MaxMints:
		return UsedUp
	}
	return ""
}

// TriesLeft returns how many wrong codes the link still bears.
func (s State) TriesLeft() int { return max(0, MaxWrongCodes-s.WrongCodes) }

// Refused is the error of a true token whose link opens nothing. It travels inside a *failure.Error.
type Refused struct {
	Reason Reason
	State  State
}

func (r *Refused) Error() string {
	switch r.Reason {
	case Withdrawn:
		return "the link was withdrawn"
	case Expired:
		return "the link expired on " + r.State.Expires.UTC().Format("2006-01-02 15:04 UTC")
	case Locked:
		return fmt.Sprintf("the link is locked: %d wrong codes were entered", r.State.WrongCodes)
	case UsedUp:
		return fmt.Sprintf("the link is used up: it has started %d downloads", r.State.Mints)
	case NoCode:
		return "the link asks for a code"
	case WrongCode:
		if r.State.TriesLeft() == 0 {
			return "the code is wrong, and the link is locked now"
		}
		return fmt.Sprintf("the code is wrong; %d more wrong codes lock the link", r.State.TriesLeft())
	}
	return "the link opens nothing"
}

func refusal(reason Reason, state State) error {
	kind := failure.Denied
	if reason == UsedUp || reason == Locked {
		kind = failure.Exhausted
	}
	hint := fmt.Sprintf("`lifeboat link %s` makes a new one", state.Backup)
	if reason == WrongCode || reason == NoCode {
		hint = fmt.Sprintf("`lifeboat link %s` shows the code", state.Backup)
	}
	return failure.New(kind, "%w", &Refused{Reason: reason, State: state}).WithHint("%s", hint)
}

func (s *Service) refuse(state State) error {
	if reason := state.Refusal(s.now()); reason != "" {
		return refusal(reason, state)
	}
	return nil
}

func (s *Service) read(ctx context.Context, id string) (State, string, error) {
	var state State
	etag, err := s.Vault.GetJSON(ctx, vault.Link(id), &state)
	if err != nil {
		return State{}, "", err
	}
	if state.Format > Format {
		return State{}, "", failure.New(failure.Invalid, "link %s was written by a later lifeboat (format %d, this one knows %d)", id, state.Format, Format).
			WithHint("update lifeboat")
	}
	if state.Format < 1 || state.ID != id {
		return State{}, "", failure.New(failure.Corrupt, "link %s: its state belongs to another link", id)
	}
	return state, etag, nil
}

// maxRaces bounds how often a change starts again because another one was faster.
const maxRaces = 100

// update changes the state behind a token.
func (s *Service) update(ctx context.Context, token string, edit func(*State) bool) (State, error) {
	if _, _, err := s.open(ctx, token); err != nil {
		return State{}, err
	}
	return s.change(ctx, ID(token), edit)
}

// change applies edit to a state and writes it where edit says so, again from the start when another change was
// faster. It returns the state that the vault has then.
func (s *Service) change(ctx context.Context, id string, edit func(*State) bool) (State, error) {
	for range maxRaces {
		state, etag, err := s.read(ctx, id)
		if err != nil {
			return State{}, err
		}
		if !edit(&state) {
			return state, nil
		}
		_, err = s.Vault.PutJSON(ctx, vault.Link(id), state, vault.IfMatch(etag))
		if failure.KindOf(err) != failure.Conflict {
			return state, err
		}
	}
	return State{}, failure.New(failure.Transient, "too many requests use link %s at once", id)
}
