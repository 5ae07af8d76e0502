package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
)

func examineVault(ctx context.Context, p Patient, report func(Finding)) {
	name := p.Vault.Bucket()
	report(checked(ctx, "vault", name, func(ctx context.Context) (string, error) { return writeAndRead(ctx, p.Vault) }))
	if p.Signer != nil {
		report(checked(ctx, "key", name, func(context.Context) (string, error) { return p.Signer() }))
	}
	report(clock(ctx, p))
	records(ctx, p.Vault, report)
	for _, f := range leftovers(ctx, p) {
		report(f)
	}
	if p.Store {
		report(checked(ctx, "store", name, func(ctx context.Context) (string, error) { return probeStore(ctx, p.Vault) }))
	}
}

// writeAndRead writes one object, reads it and deletes it.
func writeAndRead(ctx context.Context, v *vault.Vault) (string, error) {
	key, body := vault.Probe(rand.Text()), []byte("lifeboat doctor\n")
	if _, err := v.Put(ctx, key, body, vault.IfAbsent()); err != nil {
		return "", err
	}
	got, _, err := v.Get(ctx, key)
	if err == nil && !bytes.Equal(got, body) {
		err = failure.New(failure.Corrupt, "the vault gave back other bytes than were written")
	}
	if err == nil {
		_, err = v.Put(ctx, key, body, vault.IfAbsent())
		if failure.KindOf(err) != failure.Conflict || err == nil {
			return "", failure.New(failure.Invalid, "the store does not refuse a conditional write: two runs could overwrite one another").
				WithHint("use a store that honours If-None-Match")
		}
		err = nil
	}
	if err != nil {
		return "", err
	}
	return "written, read and deleted; conditional writes are honoured", v.Delete(ctx, key)
}

// maxRecords is of how many records that cannot be read there is a finding each.
const maxRecords = 10

// records looks whether the record of every backup can be read: of one that cannot be, nobody knows what it is, and
// nothing of its source goes. It stops where it is the store that fails, and not a record.
func records(ctx context.Context, v *vault.Vault, report func(Finding)) {
	readable, broken := 0, 0
	for r, err := range catalog.New(v).All(ctx, "") {
		switch {
		case err == nil:
			readable++
		case r.ID == "": // of the listing
			report(trouble("records", "", err))
			return
		case !failure.Damage(err) && failure.KindOf(err) != failure.Invalid:
			report(trouble("records", "", fmt.Errorf("%w; the records behind it were not looked at", err)))
			return
		case catalog.Stray(r.ID):
			report(stray(r))
		default:
			if broken++; broken <= maxRecords {
				report(unreadable(r, err))
			}
		}
	}
	switch {
	case broken > maxRecords:
		report(Finding{
			Check: "records", Level: Trouble, Kind: failure.Corrupt, Message: plain.Count(int64(broken-maxRecords), "more record") + " of backups cannot be read",
			Hint: "`lifeboat list` names them",
		})
	case broken == 0:
		report(Finding{Check: "records", Level: OK, Message: plain.Count(int64(readable), "record") + " of backups can be read"})
	}
}

// unreadable is about a record that cannot be read.
func unreadable(r catalog.Record, err error) Finding {
	f := trouble("records", fmt.Sprintf("%s/%s", r.Source, r.ID), err)
	if f.Hint == "" {
		f.Hint = fmt.Sprintf("bring %s back from a copy of the vault, or `lifeboat delete %s`; `lifeboat restore FILE.zip` takes its archive, archives/%s/%s.zip, without it",
			vault.Record(r.Source, r.ID), r.ID, r.Source, r.ID)
	}
	return f
}

// stray is about what lies among the records and is none.
func stray(r catalog.Record) Finding {
	return Finding{
		Check: "records", Subject: fmt.Sprintf("%s/%s", r.Source, r.ID), Level: Warning, Message: "it bears the name of no backup: lifeboat did not write it",
		Hint: fmt.Sprintf("move %s out of the vault: while it is there, no pack of the source is freed", vault.Record(r.Source, r.ID)),
	}
}

// maxSkew is how far two clocks may differ: signatures of requests bear 15 minutes.
const maxSkew = 2 * time.Minute

// clock compares this machine's clock with the store's.
func clock(ctx context.Context, p Patient) Finding {
	f := checked(ctx, "clock", "", func(ctx context.Context) (string, error) {
		there, err := p.Vault.Time(ctx)
		if err != nil {
			return "", err
		}
		skew := p.Now().Sub(there).Round(time.Second)
		if skew.Abs() > maxSkew {
			return fmt.Sprintf("this clock and the store's differ by %s", skew), nil
		}
		return "this clock and the store's agree", nil
	})
	if f.Level == OK && strings.Contains(f.Message, "differ") {
		f.Level, f.Hint = Warning, "set the clock by NTP: requests of a clock that is 15 minutes off are refused"
	}
	return f
}

// leftovers finds what interrupted runs left: uploads that nobody works on, leases that have expired.
func leftovers(ctx context.Context, p Patient) []Finding {
	var found []Finding
	leases := map[string]bool{}
	for info, err := range p.Vault.List(ctx, "catalog/leases/") {
		if err != nil {
			return append(found, trouble("leftovers", "leases", err))
		}
		var l catalog.Lease
		if _, err := p.Vault.GetJSON(ctx, info.Key, &l); err != nil {
			continue
		}
		source := strings.TrimSuffix(vault.PackID(info.Key), ".json")
		leases[source] = true
		if catalog.OfTarget(backup.Source(source)) {
			leases[string(l.Restore())+".zip"] = true // what it fetches
		}
		if p.Now().After(l.Expires) || p.Stale != nil && p.Stale(l) {
			found = append(found, left(ctx, p.Vault, source, l))
		}
	}
	for u, err := range p.Vault.Uploads(ctx, "") {
		if err != nil {
			return append(found, trouble("leftovers", "uploads", err))
		}
		if parts := strings.Split(string(u.Key), "/"); len(parts) > 1 && !leases[parts[1]] {
			hint := fmt.Sprintf("the next `lifeboat backup %s` frees it", parts[1])
			if strings.HasPrefix(string(u.Key), string(vault.AllIncoming)) {
				hint = "run the restore again that fetched it: it goes on where it can; `lifeboat prune` frees it after a week"
			}
			found = append(found, Finding{
				Check: "leftovers", Subject: string(u.Key), Level: Warning, Message: "an upload was begun and never completed; it takes space", Hint: hint,
			})
		}
	}
	if len(found) == 0 {
		found = append(found, Finding{Check: "leftovers", Level: OK, Message: "no stale lock, no forgotten upload"})
	}
	return found
}

// left is about a lease that nobody holds any more: of a backup, or of a restore, whose lease is that of its target.
func left(ctx context.Context, v *vault.Vault, name string, l catalog.Lease) Finding {
	f := Finding{
		Check: "leftovers", Subject: name, Level: Warning,
		Message: fmt.Sprintf("backup %s was interrupted and still holds the source", l.Run),
		Hint:    fmt.Sprintf("run `lifeboat backup %s`: it goes on with it, or closes it", name),
	}
	if !catalog.OfTarget(backup.Source(name)) {
		return f
	}
	id := l.Restore()
	record, err := catalog.New(v).Restore(ctx, id)
	switch {
	case err != nil:
		f.Message, f.Hint = fmt.Sprintf("restore %s was interrupted and still holds its target", id), "run the same restore command again"
	case record.Status != backup.InProgress:
		f.Subject = record.Target
		f.Message, f.Hint = fmt.Sprintf("restore %s into %s has ended and still holds it", id, record.Target), "nothing is in the way: the next restore takes it over"
	case record.Drill:
		f.Subject, f.Message = record.Target, fmt.Sprintf("restore %s, a drill, was interrupted", id)
		f.Hint = fmt.Sprintf("run `lifeboat drill %s` again", record.From.Source)
	default:
		f.Subject, f.Message = record.Target, fmt.Sprintf("restore %s into %s was interrupted", id, record.Target)
		f.Hint = fmt.Sprintf("run the same restore command again: it leaves alone what is there with the right bytes; `lifeboat restores %s` shows how far it came", id)
	}
	return f
}

// probeStore asks the store for what archives are made of, and keeps the answers for the runs to come.
func probeStore(ctx context.Context, v *vault.Vault) (string, error) {
	a, err := v.Learn(ctx)
	switch {
	case err != nil:
		return "", err
	case !a.Absent:
		return "", failure.New(failure.Invalid, "the store does not refuse to create what is there (If-None-Match): two runs could overwrite one another").
			WithHint("no backup begins on it; use another store")
	case !a.Whole:
		return "", failure.New(failure.Invalid, "the store accepts a wrong checksum of a whole object").
			WithHint("its word proves nothing: verify every backup with `lifeboat verify`")
	case !a.Copies:
		return "copies no ranges: packs and archives pass through lifeboat, in parts of one size", nil
	case !a.Uneven:
		return "takes parts of one size only: packs and archives pass through lifeboat", nil
	case !a.PartCRC:
		return "", failure.New(failure.Invalid, "the store does not return the CRC-32 of a ranged copy").
			WithHint("large objects pass through lifeboat on this store; archives are joined all the same")
	}
	return "splices ranges, returns their CRC-32, takes uneven parts, and checks the whole", nil
}
