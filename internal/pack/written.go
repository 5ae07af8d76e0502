package pack

import (
	"context"
	"encoding/json"
	"strings"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Written returns the packs that the results of a run's batches name, by id, and the cursors of those that are under way:
// of a run that has not been sealed. Other backups may name them too.
func Written(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (map[string]manifest.Pack, error) {
	packs := map[string]manifest.Pack{}
	for info, err := range v.List(ctx, vault.Work(source, id, "")) {
		if err != nil {
			return nil, err
		}
		var result Result
		var err error
		switch key := string(info.Key); {
		case strings.Contains(key, "/packed/"):
			result, err = ReadResult(ctx, v, info.Key)
		case strings.Contains(key, "/going/"):
			result, err = readBefore(ctx, v, info.Key)
		}
		if err != nil && failure.KindOf(err) != failure.NotFound {
			return nil, err
		}
		for _, p := range result.Packs {
			packs[p.ID] = p
		}
	}
	return packs, nil
}

// readBefore returns what became of the items of a batch that do not stream, as its cursor says, and the pack of those that
// do, which may be complete. A cursor that cannot be read names none.
func readBefore(ctx context.Context, v *vault.Vault, key vault.Key) (Result, error) {
	body, _, err := v.Open(ctx, key, 0, -1)
	if err != nil {
		return Result{}, err
	}
	defer body.Close()
	var c cursor
	if err := json.NewDecoder(body).Decode(&c); err != nil || c.Format != cursorFormat {
		if kind := failure.KindOf(err); err != nil && kind != failure.Internal && kind != failure.Corrupt {
			return Result{}, err
		}
		return Result{}, nil
	}
	packs := c.Before.Packs
	if c.Stream.Upload != nil {
		packs = append(packs, manifest.Pack{ID: c.ID})
	}
	return Result{Packs: packs}, nil
}

// WriteResult stores what became of a batch, once: Conflict where another attempt was faster.
func WriteResult(ctx context.Context, v *vault.Vault, key vault.Key, r Result) error {
	out := v.NewWriter(ctx, key, vault.IfAbsent())
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		out.Abort()
		return err
	}
	return out.Close()
}

// ReadResult reads what became of a batch. It has a few hundred bytes an object and the length of its name.
func ReadResult(ctx context.Context, v *vault.Vault, key vault.Key) (Result, error) {
	var r Result
	body, _, err := v.Open(ctx, key, 0, -1)
	if err != nil {
		return r, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		if failure.KindOf(err) == failure.Internal {
			err = failure.New(failure.Corrupt, "read %s: %w", key, err)
		}
		return r, err
	}
	return r, nil
}
