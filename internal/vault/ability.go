package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/zipfmt"
)

// Abilities is what a store was found to be able to do, beyond what every S3 store does.
type Abilities struct {
	Checked time.Time `json:"checked"`
	Copies  bool      `json:"copies"`   // UploadPartCopy of a range
	PartCRC bool      `json:"part_crc"` // and it returns the right CRC-32 of the range
	Uneven  bool      `json:"uneven"`   // parts of different sizes
	Whole   bool      `json:"whole"`    // it refuses a wrong CRC-32 of the whole object
	Absent  bool      `json:"absent"`   // If-None-Match
}

// Able reads what the store was found to be able to do, if it was ever asked. One that was not is taken to do
// everything, as AWS does and the embedded server. It is called before the vault is used by several goroutines.
func (v *Vault) Able(ctx context.Context) error {
	var a Abilities
	_, err := v.GetJSON(ctx, storeKey, &a)
	switch {
	case err == nil:
		v.abilities = &a
	case failure.KindOf(err) != failure.NotFound:
		return err
	}
	return nil
}

// EqualParts reports whether the store takes parts of one size only, or copies none: what is joined there passes
// through compute.
func (v *Vault) EqualParts() bool {
	return v.abilities != nil && !(v.abilities.Copies && v.abilities.Uneven)
}

// Proves reports whether the store's word about the checksum of a whole object proves anything.
func (v *Vault) Proves() bool { return v.abilities == nil || v.abilities.Whole }

// Excludes reports whether the store refuses to create what is there, without which two runs overwrite one another.
func (v *Vault) Excludes() bool { return v.abilities == nil || v.abilities.Absent }

// TellsParts reports whether the store tells the CRC-32 of what it copies.
func (v *Vault) TellsParts() bool { return v.abilities == nil || v.abilities.PartCRC }

// Learn asks the store what it can do and keeps the answers. It writes about 23 MiB and removes them.
func (v *Vault) Learn(ctx context.Context) (Abilities, error) {
	a, err := v.probe(ctx)
	if err != nil {
		return a, err
	}
	a.Checked = time.Now().UTC().Truncate(time.Second)
	if _, err := v.PutJSON(ctx, storeKey, a, Always()); err != nil {
		return a, err
	}
	v.abilities = &a
	return a, nil
}

func (v *Vault) probe(ctx context.Context) (a Abilities, err error) {
	data := make([]byte, 11<<20)
	if _, err := rand.Read(data); err != nil {
		return a, err
	}
	source, target := Probe(rand.Text()), Probe(rand.Text())
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		_ = v.AbortAll(ctx, target) // gone where they are complete
		_ = v.Delete(ctx, source)   // the next probe uses other keys
		_ = v.Delete(ctx, target)
	}()
	if _, err := v.Put(ctx, source, data, IfAbsent()); err != nil {
		return a, err
	}
	_, err = v.Put(ctx, source, data[:1], IfAbsent())
	a.Absent = err != nil && failure.KindOf(err) == failure.Conflict
	u, err := v.CreateUpload(ctx, target)
	if err != nil {
		return a, err
	}
	const from, length = 1000, 6 << 20
	first, err := v.CopyPart(ctx, u, 1, source, from, length)
	a.Copies = err == nil
	a.PartCRC = a.Copies && first.HasCRC && first.CRC32 == checksum(data[from:from+length])
	if err != nil {
		if failure.KindOf(err) == failure.Denied || failure.KindOf(err) == failure.Transient {
			return a, fmt.Errorf("a ranged copy: %w", err)
		}
		if first, err = v.UploadPart(ctx, u, 1, data[from:from+length]); err != nil {
			return a, err
		}
	}
	first.CRC32, first.HasCRC = checksum(data[from:from+length]), true
	parts, size, crc := []Part{first}, first.Size, first.CRC32
	for n, body := range [][]byte{data[:MinPart], data[:123]} {
		part, err := v.UploadPart(ctx, u, n+2, body)
		if err != nil {
			return a, err
		}
		parts, size, crc = append(parts, part), size+part.Size, zipfmt.CombineCRC(crc, part.CRC32, part.Size)
	}
	err = v.Complete(ctx, u, parts, size, crc^1)
	a.Whole = err != nil && failure.KindOf(err) == failure.Corrupt
	if err == nil { // it is there now, with a wrong checksum or none
		a.Uneven = true
		return a, nil
	}
	a.Uneven = v.Complete(ctx, u, parts, size, crc) == nil
	return a, nil
}
