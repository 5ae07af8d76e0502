package manifest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

var (
	noon  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	key   = ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))
	other = ed25519.NewKeyFromSeed([]byte("another key another key another "))
	pack1 = strings.Repeat("1", 32)
	pack2 = strings.Repeat("2", 32)
)

func header() manifest.Header {
	return manifest.Header{
		Backup: "20261121T120000Z-aaaaaa", Source: "photos", Kind: "zipline", Name: "<b>&amp;\u2028", Started: noon,
		Facts: app.Facts{Application: "Zipline", Counts: map[string]int64{"files": 2}}, Readme: "read\nme",
	}
}

func packs() []manifest.Pack {
	return []manifest.Pack{{ID: pack1, Bytes: 1000, CRC32: 0xdeadbeef}, {ID: pack2, Bytes: 100}}
}

func entries() []manifest.Entry {
	return []manifest.Entry{
		{
			Path: "uploads/ü \u202e<&>\n.png", Type: "thumbnail", Size: 500, CRC32: 1, SHA256: "ab", Modified: noon,
			Origin: &manifest.Origin{Key: "k", Identity: "i", Settled: true}, Header: manifest.Place{Pack: pack1},
		},
		{Path: "empty", Modified: noon, Header: manifest.Place{Pack: pack1, Offset: 965}},
		{
			Path: "export.json", Document: true, Secret: true, Size: 2000, Modified: noon, Deflated: &manifest.Deflated{Size: 30, CRC32: 9},
			Header: manifest.Place{Pack: pack1, Offset: 600}, BodyPlace: &manifest.Place{Pack: pack2, Offset: 70},
		},
	}
}

// write returns a compressed manifest.
func write(t testing.TB, h manifest.Header, ps []manifest.Pack, es []manifest.Entry) ([]byte, manifest.Sum, error) {
	t.Helper()
	var out bytes.Buffer
	m, err := manifest.NewWriter(&out, h)
	if err != nil {
		return nil, manifest.Sum{}, err
	}
	for _, p := range ps {
		if err := m.Pack(p); err != nil {
			return nil, manifest.Sum{}, err
		}
	}
	for _, e := range es {
		if err := m.Entry(e); err != nil {
			return nil, manifest.Sum{}, err
		}
	}
	sum, err := m.Close()
	sum.Compressed = int64(out.Len())
	return out.Bytes(), sum, err
}

func sample(t testing.TB) ([]byte, manifest.Sum) {
	t.Helper()
	gz, sum, err := write(t, header(), packs(), entries())
	if err != nil {
		t.Fatal(err)
	}
	return gz, sum
}

func readAll(r io.Reader) (*manifest.Reader, []manifest.Entry, error) {
	m, err := manifest.Open(r)
	if err != nil {
		return nil, nil, err
	}
	var all []manifest.Entry
	for e, err := range m.Entries() {
		if err != nil {
			return m, all, err
		}
		all = append(all, e)
	}
	return m, all, nil
}

func inflate(t testing.TB, gz []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func deflate(lines []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(lines)
	_ = w.Close()
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	gz, sum := sample(t)
	m, got, err := readAll(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	want := header()
	want.Format = manifest.Format
	for _, diff := range []string{
		cmp.Diff(want, m.Header), cmp.Diff(entries(), got), cmp.Diff([]string{pack1, pack2}, m.PackOrder),
		cmp.Diff(map[string]manifest.Pack{pack1: packs()[0], pack2: packs()[1]}, m.Packs),
	} {
		if diff != "" {
			t.Error(diff)
		}
	}
	read := m.Sum()
	read.Compressed, read.Deflated = sum.Compressed, sum.Deflated
	if diff := cmp.Diff(sum, read); diff != "" || m.Digest() != sum.SHA256 {
		t.Errorf("what was written and what was read: %s", diff)
	}
	again, _ := sample(t)
	if !bytes.Equal(gz, again) {
		t.Error("the same manifest gives other bytes")
	}
	skipped, err := manifest.Open(bytes.NewReader(gz))
	if err != nil || skipped.Skip() != nil || skipped.Digest() != sum.SHA256 {
		t.Errorf("skipped: %v", err)
	}
	if lines := inflate(t, gz); bytes.Count(lines, []byte("\n")) != 6 || !bytes.Contains(lines, []byte(`<b>&amp;`)) {
		t.Errorf("%s", lines)
	}
}

func TestEntryPlaces(t *testing.T) {
	e := entries()
	if got, want := e[0].Body(), (manifest.Place{Pack: pack1, Offset: e[0].Zip().LocalSize()}); got != want {
		t.Errorf("behind the header: %+v, want %+v", got, want)
	}
	if got, want := e[2].Body(), (manifest.Place{Pack: pack2, Offset: 70}); got != want {
		t.Errorf("elsewhere: %+v", got)
	}
	if e[0].StoredSize() != 500 || e[0].StoredCRC() != 1 || e[2].StoredSize() != 30 || e[2].StoredCRC() != 9 {
		t.Error("stored sizes or checksums")
	}
}

// TestRules: what breaks a rule can neither be written nor read.
func TestRules(t *testing.T) {
	entry := func(change func(*manifest.Entry)) func(*manifest.Header, *[]manifest.Pack, *[]manifest.Entry) {
		return func(_ *manifest.Header, _ *[]manifest.Pack, es *[]manifest.Entry) { change(&(*es)[0]) }
	}
	for name, change := range map[string]func(*manifest.Header, *[]manifest.Pack, *[]manifest.Entry){
		"negative size":       entry(func(e *manifest.Entry) { e.Size = -1 }),
		"huge size":           entry(func(e *manifest.Entry) { e.Size = 1 << 62 }),
		"behind the pack":     entry(func(e *manifest.Entry) { e.Header.Offset = 480 }),
		"before the pack":     entry(func(e *manifest.Entry) { e.Header.Offset = -1 }),
		"far behind":          entry(func(e *manifest.Entry) { e.Header.Offset = 1<<63 - 1 }),
		"unknown pack":        entry(func(e *manifest.Entry) { e.Header.Pack = strings.Repeat("3", 32) }),
		"no pack":             entry(func(e *manifest.Entry) { e.Header.Pack = "" }),
		"body outside":        entry(func(e *manifest.Entry) { e.BodyPlace = &manifest.Place{Pack: pack2, Offset: 0} }),
		"body far outside":    entry(func(e *manifest.Entry) { e.BodyPlace = &manifest.Place{Pack: pack1, Offset: 1<<63 - 10} }),
		"negative compressed": entry(func(e *manifest.Entry) { e.Deflated = &manifest.Deflated{Size: -1} }),
		"impossible ratio":    entry(func(e *manifest.Entry) { e.Size, e.Deflated = 1<<40, &manifest.Deflated{Size: 500} }),
		"no name":             entry(func(e *manifest.Entry) { e.Path = "" }),
		"long name":           entry(func(e *manifest.Entry) { e.Path = strings.Repeat("x", 65_536) }),
		"own name":            entry(func(e *manifest.Entry) { e.Path = manifest.PathInArchive }),
		"twice":               entry(func(e *manifest.Entry) { e.Path = "empty" }),
		"pack twice":          func(_ *manifest.Header, ps *[]manifest.Pack, _ *[]manifest.Entry) { *ps = append(*ps, (*ps)[0]) },
		"pack of no size":     func(_ *manifest.Header, ps *[]manifest.Pack, _ *[]manifest.Entry) { (*ps)[0].Bytes = -1 << 63 },
		"pack of any size":    func(_ *manifest.Header, ps *[]manifest.Pack, _ *[]manifest.Entry) { (*ps)[0].Bytes = 1 << 62 },
		"pack id": func(_ *manifest.Header, ps *[]manifest.Pack, _ *[]manifest.Entry) {
			(*ps)[1].ID = "../../../catalog/leases/photos/x"
		},
		"short pack id": func(_ *manifest.Header, ps *[]manifest.Pack, _ *[]manifest.Entry) { (*ps)[1].ID = "a" },
		"more than any archive": func(_ *manifest.Header, ps *[]manifest.Pack, es *[]manifest.Entry) {
			(*ps)[0].Bytes = 1 << 50
			for i := range 3 {
				*es = append(*es, manifest.Entry{Path: fmt.Sprint(i), Size: 1 << 49, Header: manifest.Place{Pack: pack1}})
			}
		},
	} {
		h, ps, es := header(), packs(), entries()
		change(&h, &ps, &es)
		if _, _, err := write(t, h, ps, es); failure.KindOf(err) != failure.Invalid {
			t.Errorf("%s: written: %v", name, err)
		}
		if _, _, err := readAll(bytes.NewReader(deflate(lines(t, h, ps, es)))); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: read: %v", name, err)
		}
	}
}

// lines writes a manifest without asking the rules.
func lines(t testing.TB, h manifest.Header, ps []manifest.Pack, es []manifest.Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	h.Format = max(h.Format, 1)
	err := enc.Encode(h)
	for _, p := range ps {
		err = errors.Join(err, enc.Encode(map[string]manifest.Pack{"pack": p}))
	}
	for _, e := range es {
		err = errors.Join(err, enc.Encode(e))
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLongLines(t *testing.T) {
	h := header()
	h.Readme = strings.Repeat("x", 1<<20)
	if _, _, err := write(t, h, nil, nil); failure.KindOf(err) != failure.Invalid {
		t.Errorf("written: %v", err)
	}
	if _, _, err := readAll(bytes.NewReader(deflate(lines(t, h, nil, nil)))); failure.KindOf(err) != failure.Corrupt {
		t.Errorf("read: %v", err)
	}
}

func TestDamage(t *testing.T) {
	gz, sum := sample(t)
	for n := range gz {
		if _, _, err := readAll(bytes.NewReader(gz[:n])); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("cut off after %d of %d bytes: %v", n, len(gz), err)
		}
	}
	for i := range gz {
		bad := bytes.Clone(gz)
		bad[i] ^= 0x04
		m, _, err := readAll(bytes.NewReader(bad))
		if err != nil && failure.KindOf(err) != failure.Corrupt && failure.KindOf(err) != failure.Invalid {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if err == nil && m.Digest() != sum.SHA256 {
			t.Errorf("byte %d flipped: the gzip file's own checksum did not tell", i)
		}
	}
	good := string(inflate(t, gz))
	for name, text := range map[string]string{
		"empty": "", "garbage": "\x00\x01\x02\n", "no newline": strings.TrimSuffix(good, "\n"), "no JSON": good + "{\n",
		"a pack behind entries": good + `{"pack":{"id":"` + strings.Repeat("4", 32) + `","bytes":1,"crc32":"00000000"}}` + "\n",
		"no header":             good[strings.Index(good, "\n")+1:], "no format": "{}\n", "of nobody": `{"lifeboat_manifest":1,"source":"a"}` + "\n",
		"of an odd source": strings.Replace(good, `"photos"`, `"../photos"`, 1), "CRC of odd length": strings.Replace(good, `"deadbeef"`, `"eadbeef"`, 1),
		"CRC that is none": strings.Replace(good, `"deadbeef"`, `"deadbeeg"`, 1),
	} {
		if _, _, err := readAll(bytes.NewReader(deflate([]byte(text)))); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: %v (%v)", name, err, failure.KindOf(err))
		}
	}
}

func TestLaterFormat(t *testing.T) {
	later := deflate([]byte(`{"lifeboat_manifest":2,"backup":{"of":"another shape"}}` + "\n"))
	_, _, err := readAll(bytes.NewReader(later))
	if failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	_, err = manifest.ParseSeal([]byte(`{"lifeboat_backup":2,"manifest":["of another shape"]}`))
	if failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// TestTroubleIsNoDamage: a store that does not answer must not make a manifest look damaged.
func TestTroubleIsNoDamage(t *testing.T) {
	gz, _ := sample(t)
	for _, kind := range []failure.Kind{failure.Transient, failure.Canceled, failure.Denied} {
		for _, n := range []int{0, 5, 50, len(gz) / 2, len(gz)} {
			r := failing{bytes.NewReader(gz[:n]), failure.New(kind, "trouble")}
			if _, _, err := readAll(r); failure.KindOf(err) != kind {
				t.Errorf("%v after %d bytes: %v (%v)", kind, n, err, failure.KindOf(err))
			}
		}
	}
}

func seal(t testing.TB) ([]byte, *manifest.Reader, int) {
	t.Helper()
	gz, sum := sample(t)
	m, all, err := readAll(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	data, err := manifest.Sign(key, sum, m.RawHeader)
	if err != nil {
		t.Fatal(err)
	}
	return data, m, len(all)
}

func TestSeal(t *testing.T) {
	data, m, count := seal(t)
	s, err := manifest.ParseSeal(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		trusted []ed25519.PublicKey
		want    manifest.Authenticity
	}{
		{nil, manifest.UnknownSigner},
		{[]ed25519.PublicKey{public(other)}, manifest.UnknownSigner},
		{[]ed25519.PublicKey{public(other), public(key)}, manifest.Authenticated},
	} {
		if got, err := s.Check(m, count, test.trusted...); got != test.want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, test.want)
		}
	}
	unsigned := s
	unsigned.Signer = manifest.Signature{}
	if got, err := unsigned.Check(m, count, public(key)); got != manifest.Unsigned || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	again, _, _ := seal(t)
	if !bytes.Equal(data, again) {
		t.Error("the same manifest and key give another seal")
	}
	gz, sum := sample(t)
	if s.Manifest.Deflated.Size != int64(len(gz)-18) || s.Manifest.Deflated.CRC32 != sum.Deflated {
		t.Errorf("%+v", s.Manifest)
	}
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// TestTampering changes each field of a seal.
func TestTampering(t *testing.T) {
	data, m, count := seal(t)
	foreign := func(s *manifest.Seal) manifest.Signature {
		signed, err := manifest.Sign(other, manifest.Sum{SHA256: s.Manifest.SHA256}, m.RawHeader)
		if err != nil {
			t.Fatal(err)
		}
		o, err := manifest.ParseSeal(signed)
		if err != nil {
			t.Fatal(err)
		}
		return o.Signer
	}
	flipped := func(text string) string { return "A" + text[1:] }
	for name, change := range map[string]func(*manifest.Seal){
		"path":              func(s *manifest.Seal) { s.Manifest.Path = "export.json" },
		"digest":            func(s *manifest.Seal) { s.Manifest.SHA256 = strings.Repeat("0", 64) },
		"entries":           func(s *manifest.Seal) { s.Manifest.Entries++ },
		"id":                func(s *manifest.Seal) { s.Signer.ID = manifest.KeyID(public(other)) },
		"public key":        func(s *manifest.Seal) { s.Signer.PublicKey = foreign(s).PublicKey },
		"key and id":        func(s *manifest.Seal) { f := foreign(s); f.Signature = s.Signer.Signature; s.Signer = f },
		"short key":         func(s *manifest.Seal) { s.Signer.PublicKey = base64.StdEncoding.EncodeToString([]byte("short")) },
		"signature":         func(s *manifest.Seal) { s.Signer.Signature = flipped(s.Signer.Signature) },
		"no signature":      func(s *manifest.Seal) { s.Signer.Signature = "" },
		"no base64":         func(s *manifest.Seal) { s.Signer.Signature += "\n" },
		"foreign signature": func(s *manifest.Seal) { s.Signer.Signature = foreign(s).Signature },
		"backup":            func(s *manifest.Seal) { s.Backup = bytes.Replace(s.Backup, []byte("photos"), []byte("bhotos"), 1) },
		"no backup":         func(s *manifest.Seal) { s.Backup = nil },
	} {
		s, err := manifest.ParseSeal(data)
		if err != nil {
			t.Fatal(err)
		}
		change(&s)
		if got, err := s.Check(m, count, public(key), public(other)); failure.KindOf(err) != failure.Corrupt || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, text := range map[string]string{"empty": "", "no format": "{}", "no JSON": "{", "a list": "[]", "long": strings.Repeat(" ", manifest.MaxSeal) + "{}"} {
		if _, err := manifest.ParseSeal([]byte(text)); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, _ := manifest.ParseSeal(data)
	_, short, err := readAll(bytes.NewReader(deflate(lines(t, header(), packs(), entries()[:2]))))
	if _, checkErr := s.Check(m, len(short)); err != nil || failure.KindOf(checkErr) != failure.Corrupt {
		t.Errorf("another count: %v, %v", err, checkErr)
	}
}

// FuzzReader: a reader never panics, and what it accepts is within the rules that its users rely on.
func FuzzReader(f *testing.F) {
	gz, _ := sample(f)
	f.Add(inflate(f, gz))
	f.Add([]byte(`{"lifeboat_manifest":1,"backup":"20261121T120000Z-aaaaaa","source":"a"}` + "\n" + `{"pack":{"id":"x"}}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.NewReader(bytes.NewReader(data))
		if err != nil {
			wantRefusal(t, err)
			return
		}
		seen := map[string]bool{}
		for e, err := range m.Entries() {
			if err != nil {
				wantRefusal(t, err)
				return
			}
			p, ok := m.Packs[e.Header.Pack]
			body, ok2 := m.Packs[e.Body().Pack]
			if !ok || !ok2 || seen[e.Path] || e.Header.Offset < 0 || e.Header.Offset+e.Zip().LocalSize() > p.Bytes ||
				e.Body().Offset < 0 || e.Body().Offset+e.StoredSize() > body.Bytes {
				t.Errorf("accepted: %+v", e)
			}
			seen[e.Path] = true
		}
		if m.Sum().Bytes != int64(len(data)) {
			t.Errorf("%d of %d bytes were read", m.Sum().Bytes, len(data))
		}
	})
}

func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if kind := failure.KindOf(err); kind != failure.Corrupt && kind != failure.Invalid {
		t.Errorf("%v: %v", kind, err)
	}
}
