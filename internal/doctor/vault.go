package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

func examineVault(ctx context.Context, p Patient, report func(Finding)) {
	name := p.Vault.Bucket()
	report(checked(ctx, "vault", name, func(ctx context.Context) (string, error) { return writeAndRead(ctx, p.Vault) }))
	report(clock(ctx, p))
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
		if p.Now().After(l.Expires) || p.Stale != nil && p.Stale(l) {
			found = append(found, Finding{
				Check: "leftovers", Subject: source, Level: Warning,
				Message: fmt.Sprintf("backup %s was interrupted and still holds the source", l.Run),
				Hint:    fmt.Sprintf("run `lifeboat backup %s`: it goes on with it, or closes it", source),
			})
		}
	}
	for u, err := range p.Vault.Uploads(ctx, "") {
		if err != nil {
			return append(found, trouble("leftovers", "uploads", err))
		}
		if parts := strings.Split(string(u.Key), "/"); len(parts) > 1 && !leases[parts[1]] {
			found = append(found, Finding{
				Check: "leftovers", Subject: string(u.Key), Level: Warning, Message: "an upload was begun and never completed; it takes space",
				Hint: fmt.Sprintf("the next `lifeboat backup %s` frees it", parts[1]),
			})
		}
	}
	if len(found) == 0 {
		found = append(found, Finding{Check: "leftovers", Level: OK, Message: "no stale lock, no forgotten upload"})
	}
	return found
}

// probeStore asks the store for what archives are made of: parts of uneven sizes, ranged copies with their CRC-32,
// and the check of the whole object's CRC-32. It writes about 18 MiB and removes them.
func probeStore(ctx context.Context, v *vault.Vault) (string, error) {
	data := make([]byte, 11<<20)
	if _, err := rand.Read(data); err != nil {
		return "", err
	}
	source, target := vault.Probe(rand.Text()), vault.Probe(rand.Text())
	defer cleanUp(ctx, v, source, target)
	if _, err := v.Put(ctx, source, data, vault.IfAbsent()); err != nil {
		return "", err
	}
	upload, err := v.CreateUpload(ctx, target)
	if err != nil {
		return "", err
	}
	defer abort(ctx, v, upload)
	const from, length = 1000, 6 << 20
	copied, err := v.CopyPart(ctx, upload, 1, source, from, length)
	if err != nil {
		return "", fmt.Errorf("a ranged copy: %w", err)
	}
	want := crc32.ChecksumIEEE(data[from : from+length])
	if !copied.HasCRC || copied.CRC32 != want {
		return "", failure.New(failure.Invalid, "the store does not return the CRC-32 of a ranged copy").
			WithHint("archives are proven by reading them back on this store; that costs time and requests")
	}
	tail := data[:123]
	last, err := v.UploadPart(ctx, upload, 2, tail)
	if err != nil {
		return "", err
	}
	parts, size := []vault.Part{copied, last}, copied.Size+last.Size
	whole := zipfmt.CombineCRC(want, last.CRC32, last.Size)
	if err := v.Complete(ctx, upload, parts, size, whole^1); err == nil {
		return "", failure.New(failure.Invalid, "the store accepts a wrong checksum of a whole object").
			WithHint("its word proves nothing: verify every backup with `lifeboat verify`")
	}
	if err := v.Complete(ctx, upload, parts, size, whole); err != nil {
		return "", fmt.Errorf("a right checksum of a whole object: %w", err)
	}
	return "splices ranges, returns their CRC-32, takes uneven parts, and checks the whole", nil
}

func cleanUp(ctx context.Context, v *vault.Vault, keys ...vault.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, key := range keys {
		_ = v.Delete(ctx, key) // the next probe uses other keys
	}
}

func abort(ctx context.Context, v *vault.Vault, u vault.Upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = v.Abort(ctx, u) // gone once it is complete
}
