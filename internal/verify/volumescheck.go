package verify

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/manifest"
)

// whole reads every byte of every volume. The signature is the weakest of theirs.
func (v *volumes) whole(ctx context.Context, o Options) (Report, error) {
	report := Report{tell: o.Found, Header: v.header, Signature: manifest.Authenticated}
	for i, f := range v.files {
		one, err := whole(ctx, f, o, o.State.part(i))
		if err != nil {
			return report, err
		}
		report.add(one, v.names[i])
		if one.OK && one.data != v.all[i].Data {
			report.found(volumeProblem(v.names[i], "its data has %d bytes, the list of volumes says %d", one.data, v.all[i].Data))
		}
	}
	for _, err := range Entries(ctx, v) { // a path may stand in one volume only
		if err != nil {
			return report, report.broken(manifest.PathInArchive, err)
		}
	}
	report.OK = report.Total == 0
	return report, nil
}

// add takes over what was found in one volume, which has been told already.
func (r *Report) add(one Report, name string) {
	r.Entries, r.Bytes = r.Entries+one.Entries, r.Bytes+one.Bytes
	strength := []manifest.Authenticity{"", manifest.Unsigned, manifest.UnknownSigner, manifest.Authenticated}
	if slices.Index(strength, one.Signature) < slices.Index(strength, r.Signature) {
		r.Signature = one.Signature
	}
	r.Total += one.Total
	for _, f := range one.Problems[:min(len(one.Problems), MaxProblems-len(r.Problems))] {
		switch f.Item {
		case manifest.PathInArchive, archive.SealPath, centralDirectory:
			f.Item = name + ": " + f.Item
		}
		r.Problems = append(r.Problems, f)
	}
}

// volume holds what one volume says of itself against what it has.
func (r *Report) volume(v manifest.Volume) {
	switch {
	case !sensible(v):
		r.found(volumeProblem(manifest.PathInArchive, "it says that it is volume %d of %d", v.Number, len(v.All)))
	case v.All[v.Number-1].Entries != r.Entries:
		r.found(volumeProblem(manifest.PathInArchive, "volume %d has %d entries, its list of volumes says %d", v.Number, r.Entries, v.All[v.Number-1].Entries))
	}
}

func volumeProblem(item, format string, args ...any) app.Finding {
	return app.Finding{Severity: app.Problem, Kind: "corrupt", Item: item, Message: fmt.Sprintf(format, args...)}
}

// sameAs holds the entries of all volumes against the list of the backup: each in its place, no more and no less, and
// signed by the same key.
func (v *volumes) sameAs(ctx context.Context, packs Image, second Report, report *Report) error {
	header, err := headerOf(ctx, packs)
	if err != nil {
		return report.broken(manifest.PathInArchive, err)
	}
	if !reflect.DeepEqual(header, v.header) {
		report.found(volumeProblem("archive", "its volumes are not those of this backup"))
	}
	if second.OK && second.Signature != report.Signature {
		report.found(volumeProblem("archive", "its volumes are not signed by who signed the backup"))
	}
	next, stop := iter.Pull2(Entries(ctx, v))
	defer stop()
	for want, err := range Entries(ctx, packs) {
		if err != nil {
			return report.broken(manifest.PathInArchive, err)
		}
		got, err, ok := next()
		switch {
		case err != nil:
			return report.broken("archive", err)
		case !ok:
			report.found(volumeProblem("archive", "its volumes end before %s", want.Path))
			return nil
		case !reflect.DeepEqual(got, want):
			report.found(volumeProblem("archive", "its volumes have %s where the backup has %s", got.Path, want.Path))
			return nil
		}
	}
	if got, err, more := next(); err != nil {
		return report.broken("archive", err)
	} else if more {
		report.found(volumeProblem("archive", "its volumes hold %s, which the backup does not list", got.Path))
	}
	return nil
}
