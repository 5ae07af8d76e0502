package vault_test

import (
	"bytes"
	"context"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

const big vault.Key = "archives/a/b.zip"

// bytesOf returns n bytes that do not repeat soon.
func bytesOf(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return data
}

func read(t *testing.T, v *vaulttest.Store, k vault.Key) []byte {
	t.Helper()
	body, _, err := v.Open(t.Context(), k, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestUpload(t *testing.T) {
	v := vaulttest.New(t)
	ctx := t.Context()
	data := bytesOf(12 << 20)
	if err := v.Create(ctx, "packs/a/00/00", data); err != nil {
		t.Fatal(err)
	}
	u, err := v.CreateUpload(ctx, big)
	if err != nil {
		t.Fatal(err)
	}
	third, err := v.UploadPart(ctx, u, 3, []byte("the end"))
	if err != nil {
		t.Fatal(err)
	}
	copied, err := v.CopyPart(ctx, u, 2, "packs/a/00/00", 100, 6<<20)
	if err != nil || !copied.HasCRC || copied.CRC32 != crc32.ChecksumIEEE(data[100:100+6<<20]) {
		t.Fatalf("%+v, %v", copied, err)
	}
	if _, err := v.UploadPart(ctx, u, 1, data[:5<<20]); err != nil {
		t.Fatal(err)
	}
	first, err := v.UploadPart(ctx, u, 1, data[1:1+5<<20]) // again: the last one counts
	if err != nil {
		t.Fatal(err)
	}
	want := append(append(bytes.Clone(data[1:1+5<<20]), data[100:100+6<<20]...), "the end"...)
	crc := zipfmt.CombineCRC(zipfmt.CombineCRC(first.CRC32, copied.CRC32, copied.Size), third.CRC32, third.Size)
	parts := []vault.Part{first, copied, third}
	wantKind(t, v.Complete(ctx, u, parts, int64(len(want)), crc^1), failure.Corrupt)
	for range 2 { // the second time the upload is gone
		if err := v.Complete(ctx, u, parts, int64(len(want)), crc); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(read(t, v, big), want) {
		t.Error("the object has other bytes than its parts")
	}
	info, err := v.Head(ctx, big)
	if err != nil || !info.HasCRC32 || info.CRC32 != crc32.ChecksumIEEE(want) {
		t.Errorf("%+v, %v", info, err)
	}
	v.NoUploads(t)
}

func TestCompleteOfTwo(t *testing.T) {
	v := vaulttest.New(t)
	uploads := map[string]vault.Upload{}
	parts := map[string]vault.Part{}
	for _, text := range []string{"same", "same again", "diff"} {
		u, err := v.CreateUpload(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.UploadPart(t.Context(), u, 1, []byte(text[:4]))
		if err != nil {
			t.Fatal(err)
		}
		uploads[text], parts[text] = u, p
	}
	complete := func(text string) error {
		p := parts[text]
		return v.Complete(t.Context(), uploads[text], []vault.Part{p}, p.Size, p.CRC32)
	}
	for _, text := range []string{"same", "same again"} {
		if err := complete(text); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, complete("diff"), failure.Conflict)
	if err := v.AbortAll(t.Context(), "archives/"); err != nil {
		t.Error(err)
	}
	v.NoUploads(t)
	if err := v.Abort(t.Context(), uploads["diff"]); err != nil {
		t.Errorf("an upload that is gone cannot be aborted: %v", err)
	}
}

func TestLostAnswerOfComplete(t *testing.T) {
	always := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if isComplete(r) {
			return vaulttest.Drop(r, next)
		}
		return next.RoundTrip(r)
	}
	for name, hook := range map[string]vaulttest.Hook{"once": vaulttest.Once(isComplete, vaulttest.Drop), "every time": always} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vaulttest.New(t)
			v.Intercept(hook)
			w := v.NewWriter(t.Context(), big, vault.IfAbsent())
			data := bytesOf(9 << 20)
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read(t, v, big), data) {
				t.Error("other bytes")
			}
			v.NoUploads(t)
		})
	}
}

func TestWriter(t *testing.T) {
	for _, size := range []int{0, 1, 64 << 10, 8<<20 - 1, 8 << 20, 8<<20 + 1, 20 << 20} {
		v := vaulttest.New(t)
		data := bytesOf(size)
		for range 2 { // again with the same bytes
			w := v.NewWriter(t.Context(), big, vault.IfAbsent())
			// Odd pieces, as encoders write.
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 100_003)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if w.Size() != int64(size) || w.CRC32() != crc32.ChecksumIEEE(data) {
				t.Errorf("%d bytes: says %d, %08x", size, w.Size(), w.CRC32())
			}
		}
		if !bytes.Equal(read(t, v, big), data) {
			t.Errorf("%d bytes: other bytes came back", size)
		}
		v.NoUploads(t)
	}
}

// TestWriterConditions: what holds of a small object holds of one in several parts.
func TestWriterConditions(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t)
			write := func(first byte, cond vault.Condition) error {
				w := v.NewWriter(t.Context(), big, cond)
				data := bytesOf(size)
				data[0] = first
				if _, err := w.Write(data); err != nil {
					t.Fatal(err)
				}
				return w.Close()
			}
			if err := write('a', vault.IfAbsent()); err != nil {
				t.Fatal(err)
			}
			wantKind(t, write('b', vault.IfAbsent()), failure.Conflict)
			if err := write('c', vault.Always()); err != nil {
				t.Errorf("a repeated step may not write its own file again: %v", err)
			}
			info, err := v.Head(t.Context(), big)
			if err != nil {
				t.Fatal(err)
			}
			wantKind(t, write('d', vault.IfMatch(`"00000000000000000000000000000000"`)), failure.Conflict)
			if err := write('e', vault.IfMatch(info.ETag)); err != nil {
				t.Error(err)
			}
			if data := read(t, v, big); data[0] != 'e' {
				t.Errorf("it begins with %q", data[0])
			}
			v.NoUploads(t)
		})
	}
}

func TestWriterAbort(t *testing.T) {
	v := vaulttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	for _, size := range []int{10, 9 << 20} {
		w := v.NewWriter(ctx, big, vault.IfAbsent())
		if _, err := w.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		if _, err := w.Write([]byte("more")); err == nil {
			t.Error("an aborted writer takes more")
		}
	}
	w := v.NewWriter(ctx, big, vault.IfAbsent())
	if _, err := w.Write(make([]byte, 9<<20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantKind(t, w.Close(), failure.Canceled)
	if keys := v.Keys(t); len(keys) > 0 {
		t.Errorf("left behind: %v", keys)
	}
	v.NoUploads(t)
}

// TestKeys holds every key against what file systems and S3 stores take.
func TestKeys(t *testing.T) {
	var keys []vault.Key
	id := backup.ID("20261121T120000Z-aaaaaa")
	pack := strings.Repeat("0123456789abcdef", 2)
	for _, s := range []backup.Source{"a", "-", "--", "0", backup.Source(strings.Repeat("z", 40))} {
		if _, err := backup.ParseSource(string(s)); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, vault.Record(s, id), vault.Lease(s), vault.Manifest(s, id), vault.Findings(s, id), vault.Seal(s, id),
			vault.Work(s, id, "attempt/documents/1"), vault.Work(s, id, "attempt/plan.json"), vault.Pack(s, pack), vault.Archive(s, id))
		for prefix, below := range map[vault.Key]vault.Key{
			vault.Records(s): vault.Record(s, id), vault.Records(""): vault.Record(s, id), vault.Packs(s): vault.Pack(s, pack),
			vault.Snapshot(s, id): vault.Manifest(s, id),
		} {
			if !strings.HasPrefix(string(below), string(prefix)) || !strings.HasSuffix(string(prefix), "/") {
				t.Errorf("%s does not lie below %s", below, prefix)
			}
		}
	}
	hostile := strings.Repeat("../..//\x00", 100)
	keys = append(keys, vault.Marker, vault.Link("0123456789abcdef"), vault.Outbox(id, "ready", hostile), vault.Outbox(id, "ready", "b@example.com"))
	seen := map[vault.Key]bool{}
	for _, k := range keys {
		if seen[k] {
			t.Errorf("%s is the key of two things", k)
		}
		seen[k] = true
		for segment := range strings.SplitSeq(string(k), "/") {
			if segment == "" || segment == "." || segment == ".." || len(segment) > 255 || strings.ContainsAny(segment, "\x00\\:*?\"<>|") {
				t.Errorf("%s has the segment %q", k, segment)
			}
		}
		if len(k) > 1024 {
			t.Errorf("%s is too long", k)
		}
		for _, other := range keys {
			if strings.HasPrefix(string(other), string(k)+"/") {
				t.Errorf("%s is a folder of %s", k, other)
			}
		}
	}
	if got := vault.PackID(vault.Pack("a", pack)); got != pack {
		t.Errorf("the id of a pack becomes %s", got)
	}
}
