// Package link makes the short, revocable addresses that a mail carries in place of a presigned URL.
//
// A link is a token of 256 bits, derived from the vault's link key, the backup, the recipient and a generation, so
// that a repeated step issues the same link again. The vault keeps its state at links/<id>.json, where the id is a
// digest of the token: neither state nor logs can open anything. Looking at a link changes nothing; Mint counts one
// download and refuses links that have expired, were withdrawn, are used up, or saw too many wrong codes.
//
// The package sits above vault and below api; it knows nothing of HTTP or mail.
package link

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Limits of a link.
const (
	DefaultTTL    = 7 * 24 * time.Hour
	MaxMints      = 20 // downloads that one link starts, of each file of the archive
	MaxWrongCodes = 10 // then the link is locked

	minKey         = 16   // bytes
	maxGenerations = 1000 // of one backup and recipient
)

// Service issues, looks up and withdraws the links of one vault. It is safe for concurrent use.
type Service struct {
	Vault *vault.Vault
	Key   secret.String    // link key of the vault, at least 16 bytes; whoever has it can forge links
	Now   func() time.Time // time.Now when nil
}

// Options of a new link.
type Options struct {
	TTL       time.Duration // DefaultTTL when zero
	NeedsCode bool          // Mint asks for Code: the archive holds secrets
	Files     int           // of the archive: the volumes of a split one; 0 is 1
}

// Link is what goes into a mail.
type Link struct {
	ID        string // for logs and records
	Token     secret.String
	Expires   time.Time
	NeedsCode bool
}

// URL returns the address of the landing page below a public address such as https://backup.example.org. It holds
// the token: only a mail or the owner's terminal may show it.
func (l Link) URL(public string) string {
	return strings.TrimRight(public, "/") + "/l/" + url.PathEscape(l.Token.Reveal())
}

// ID returns the id of a token: the first 16 hex digits of its SHA-256. It says nothing of whether a link exists.
func ID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// Issue returns the link of a backup for a recipient and creates its state where there is none. Repeated, it returns
// the same token and leaves the state (its expiry and whether it needs a code, too) as it is. Once that link opens
// nothing any more (withdrawn, expired, used up or locked), the next generation takes its place.
func (s *Service) Issue(ctx context.Context, source backup.Source, id backup.ID, recipient string, o Options) (Link, error) {
	if err := s.checkKey(); err != nil {
		return Link{}, err
	}
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	for generation := 1; generation <= maxGenerations; generation++ {
		token := s.token(source, id, recipient, generation)
		state, err := s.create(ctx, s.newState(token, source, id, recipient, generation, o))
		if err != nil {
			return Link{}, fmt.Errorf("issue a link for backup %s: %w", id, err)
		}
		if state.Refusal(s.now()) == "" {
			return Link{ID: state.ID, Token: secret.New(token), Expires: state.Expires, NeedsCode: state.NeedsCode}, nil
		}
	}
	return Link{}, failure.New(failure.Exhausted, "issue a link for backup %s: %d links are spent", id, maxGenerations)
}

func (s *Service) newState(token string, source backup.Source, id backup.ID, recipient string, generation int, o Options) State {
	now := s.now().UTC().Truncate(time.Second)
	return State{
		Format: Format, ID: ID(token), Source: source, Backup: id, Recipient: recipient, Generation: generation,
		Created: now, Expires: now.Add(o.TTL), MaxMints: MaxMints * max(1, o.Files), NeedsCode: o.NeedsCode,
	}
}

// create writes a state, or returns the one that is there.
func (s *Service) create(ctx context.Context, fresh State) (State, error) {
	state, _, err := s.read(ctx, fresh.ID)
	if failure.KindOf(err) != failure.NotFound {
		return state, err
	}
	_, err = s.Vault.PutJSON(ctx, vault.Link(fresh.ID), fresh, vault.IfAbsent())
	if failure.KindOf(err) == failure.Conflict {
		state, _, err = s.read(ctx, fresh.ID)
		return state, err
	}
	return fresh, err
}

// Lookup returns the state behind a token and changes nothing. An unknown or forged token is NotFound. A true token
// whose link opens nothing any more gives the state and a *Refused that says why.
func (s *Service) Lookup(ctx context.Context, token string) (State, error) {
	state, _, err := s.open(ctx, token)
	if err != nil {
		return State{}, err
	}
	return state, s.refuse(state)
}

// Mint counts one download. The code matters only where the state says so; no code at all is refused but not
// counted as a wrong one. The errors are those of Lookup, and *Refused with WrongCode or NoCode.
func (s *Service) Mint(ctx context.Context, token, code string) (State, error) {
	var refused error
	state, err := s.update(ctx, token, func(state *State) bool {
		if refused = s.refuse(*state); refused != nil {
			return false
		}
		if state.NeedsCode && normalize(code) == "" {
			refused = refusal(NoCode, *state)
			return false
		}
		if state.NeedsCode && !s.codeMatches(*state, code) {
			state.WrongCodes++
			refused = refusal(WrongCode, *state)
			return true
		}
		state.Mints++
		state.LastMinted = s.now().UTC().Truncate(time.Second)
		return true
	})
	if err != nil {
		return State{}, fmt.Errorf("open link %s: %w", ID(token), err)
	}
	return state, refused
}

// Revoke withdraws every link of a backup and returns how many it changed.
func (s *Service) Revoke(ctx context.Context, source backup.Source, id backup.ID) (int, error) {
	n := 0
	for state, err := range s.List(ctx, source, id) {
		if err != nil {
			return n, fmt.Errorf("withdraw the links of backup %s: %w", id, err)
		}
		changed := false
		_, err := s.change(ctx, state.ID, func(state *State) bool {
			changed = !state.Revoked
			state.Revoked = true
			return changed
		})
		if err != nil {
			return n, fmt.Errorf("withdraw link %s of backup %s: %w", state.ID, id, err)
		}
		if changed {
			n++
		}
	}
	return n, nil
}

// List yields the states of all links of a backup, in the order of their ids. It reads every link of the vault.
func (s *Service) List(ctx context.Context, source backup.Source, id backup.ID) iter.Seq2[State, error] {
	prefix := vault.Key(strings.TrimSuffix(string(vault.Link("")), ".json"))
	return func(yield func(State, error) bool) {
		for info, err := range s.Vault.List(ctx, prefix) {
			if err != nil {
				yield(State{}, err)
				return
			}
			linkID := strings.TrimSuffix(strings.TrimPrefix(string(info.Key), string(prefix)), ".json")
			state, _, err := s.read(ctx, linkID)
			if err == nil && (state.Source != source || state.Backup != id) {
				continue
			}
			if !yield(state, err) || err != nil {
				return
			}
		}
	}
}

// open reads the state behind a token and proves that the token was made with our key.
func (s *Service) open(ctx context.Context, token string) (State, string, error) {
	if err := s.checkKey(); err != nil {
		return State{}, "", err
	}
	unknown := failure.New(failure.NotFound, "there is no such link").
		WithHint("`lifeboat link BACKUP` makes a new one")
	if raw, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(raw) != sha256.Size {
		return State{}, "", unknown
	}
	state, etag, err := s.read(ctx, ID(token))
	if failure.KindOf(err) == failure.NotFound {
		return State{}, "", unknown
	}
	if err != nil {
		return State{}, "", err
	}
	if want := s.token(state.Source, state.Backup, state.Recipient, state.Generation); !hmac.Equal([]byte(token), []byte(want)) {
		return State{}, "", unknown
	}
	return state, etag, nil
}

func (s *Service) token(source backup.Source, id backup.ID, recipient string, generation int) string {
	return base64.RawURLEncoding.EncodeToString(
		s.mac("lifeboat link 1", string(source)+"/"+string(id), recipient, strconv.Itoa(generation)))
}

// mac is HMAC-SHA256 over fields, each preceded by its length, so that no two lists of fields give the same bytes.
func (s *Service) mac(fields ...string) []byte {
	m := hmac.New(sha256.New, []byte(s.Key.Reveal()))
	for _, field := range fields {
		fmt.Fprintf(m, "%d:%s", len(field), field)
	}
	return m.Sum(nil)
}

func (s *Service) checkKey() error {
	if len(s.Key.Reveal()) < minKey {
		return failure.New(failure.Usage, "the link key of the vault is missing or shorter than %d bytes", minKey)
	}
	return nil
}

func (s *Service) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}
