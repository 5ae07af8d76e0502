package zipcheck_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/zipcheck"
)

// others are the samples of which we say otherwise than the index, which is one probe's proposal, and why.
var others = []struct {
	why     string
	samples map[string]string
}{
	{"bytes behind the end record, if only one, are another archive's place; PyPI refuses them too", map[string]string{
		"go-std/readme.zip": "reject:structure", "go-std/test-trailing-junk.zip": "reject:structure",
		"jszip/all_appended_bytes.zip": "reject:structure", "jszip/zip64_appended_bytes.zip": "reject:structure",
		"synthetic/trailing-garbage.zip": "reject:structure", "zip-rs/comment_garbage.zip": "reject:structure",
		"zip-rs/misaligned_comment.zip": "reject:structure",
	}},
	{"a prefix may be there only if every offset counts it: else programs look in two places, and PyPI refuses it", map[string]string{
		"go-std/test-prefix.zip": "reject:structure", "jszip/all_prepended_bytes.zip": "reject:structure",
	}},
	{"the end record gives a wrong size or place of the central directory", map[string]string{
		"go-std/test-badbase.zip": "reject:structure", "go-std/test-baddirsz.zip": "reject:structure",
		"rs-async-zip/diff-094-sample.zip": "reject:structure", "rs-async-zip/zero-central-directory-size.zip": "reject:structure",
		"jszip/all_missing_bytes.zip": "reject:structure", "pypi-warehouse/reject__missing_local_file.zip": "reject:structure",
	}},
	{"nothing is read by an end record or ZIP64 record that contradicts another; where it could be read, more is known than that it can't", map[string]string{
		"jszip/zip64_missing_bytes.zip": "reject:structure", "jszip/zip64_prepended_bytes.zip": "reject:structure",
		"pypi-warehouse/reject__8bitcomment.zip": "reject:structure", "synthetic/eocd-in-comment.zip": "reject:structure",
		"zip-rs/invalid_cde_number_of_files_allocation_greater_offset.zip": "reject:structure",
		"zip-rs/invalid_cde_number_of_files_allocation_smaller_offset.zip": "reject:structure",
		"zip-rs/invalid_offset.zip":                                        "reject:structure", "zip-rs/invalid_offset2.zip": "reject:structure",
		"zip-rs/zip64_demo.zip":                "reject:structure",
		"zip-rs/zip64_magic_in_filename_1.zip": "reject:structure", "zip-rs/zip64_magic_in_filename_2.zip": "reject:structure",
		"zip-rs/zip64_magic_in_filename_3.zip": "reject:structure", "zip-rs/zip64_magic_in_filename_4.zip": "reject:structure",
		"zip-rs/zip64_magic_in_filename_5.zip": "reject:structure",
	}},
	{"local header and central directory differ in a flag that changes the reading, need a version that does not exist, or have extra fields that end too early", map[string]string{
		"rs-async-zip/diff-085-sample.zip": "reject:encrypted+local-central-mismatch",
		"rs-async-zip/diff-088-sample.zip": "reject:local-central-mismatch+structure",
		"rs-async-zip/diff-089-sample.zip": "reject:encrypted+local-central-mismatch",
		"rs-async-zip/diff-092-sample.zip": "reject:structure", "zip-rs/extended_timestamp_bad.zip": "reject:structure",
	}},
	{"the Unicode path gives an ASCII name another spelling: two programs, two names", map[string]string{
		"jszip/winrar_utf8_in_name.zip":                   "reject:0x7075 name differs",
		"pypi-warehouse/reject__second_unicode_extra.zip": "reject:0x7075 name differs+structure",
		"pypi-warehouse/reject__unicode_extra_chain.zip":  "reject:0x7075 name differs+structure",
	}},
	{"PyPI wants ASCII or UTF-8; we decode by one rule, and both spellings give the same name here", map[string]string{
		"pypi-warehouse/reject__non_ascii_original_name.zip": "sanitize:non-utf8",
	}},
	{"folders count by case too, and a file and a folder of one name are one conflict, not two", map[string]string{
		"synthetic/win-shortname.zip": "reject:fold-collision", "slip-safearchive/case-insensitive.zip": "reject:fold-collision+symlink",
		"go-std/dupdir.zip": "reject:file-dir-conflict", "synthetic/deep-5000.zip": "reject:depth+long-component",
	}},
	{"entries that share bytes are said to overlap; their headers are equal where they are one", map[string]string{
		"bombs/fifield-zbsm.zip": "reject:overlap+size-limit", "bombs/fifield-zbsm.extra.zip": "reject:overlap+size-limit",
		"pypi-warehouse/reject__cd_extra_entry.zip": "reject:dup-name+overlap", "pypi-warehouse/reject__zip64_extra_csize.zip": "reject:overlap",
		"zip-rs/raw_deflate64_index_out_of_bounds.zip": "reject:control+method-9+nul+overlap+ratio>1032+size-limit",
	}},
	{"sizes that can't be true are seen before anything is read", map[string]string{
		"jszip/invalid__bad_decompressed_size.zip": "reject:size-limit+structure", "synthetic/lying-usize-huge.zip": "reject:ratio>1032+size-limit",
		"jszip/invalid__bad_offset.zip":                    "reject:bad-local-header+local-central-mismatch",
		"pypi-warehouse/accept__short_usize_zip64.zip":     "reject:structure",
		"pypi-warehouse/reject__zip64_extra_too_short.zip": "reject:overlap+structure",
		"rs-async-zip/diff-002-sample.zip":                 "reject:size-limit+structure",
	}},
	{"data descriptors are allowed, but here the central directory does not know of them", map[string]string{
		"pypi-warehouse/reject__data_descriptor.zip":                  "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_bad_crc.zip":          "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_bad_crc_0.zip":        "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_bad_csize.zip":        "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_bad_usize.zip":        "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_bad_usize_no_sig.zip": "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_zip64.zip":            "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_zip64_csize.zip":      "reject:local-central-mismatch+structure",
		"pypi-warehouse/reject__data_descriptor_zip64_usize.zip":      "reject:local-central-mismatch+structure",
	}},
}

// wanted is the verdict of the index in our words, with our own decisions. Contents of what is rejected are not read,
// so that a second reason that only reading finds is not asked for.
func wanted(t *testing.T, sample, proposed string) string {
	t.Helper()
	proposed = regexp.MustCompile(`structure\([^)]*\)`).ReplaceAllString(proposed, "structure")
	if words, ok := strings.CutPrefix(proposed, "reject:"); ok && strings.Contains(words, "+") {
		kept := slices.DeleteFunc(strings.Split(words, "+"), func(w string) bool { return w == "read-error" })
		proposed = "reject:" + strings.Join(kept, "+")
	}
	for _, group := range others {
		if ours, ok := group.samples[sample]; ok {
			if ours == proposed {
				t.Errorf("%s needs no place in the table", sample)
			}
			return ours
		}
	}
	return proposed
}

// TestSamples holds the verdict on every sample of hostile and odd ZIPs against the index beside them.
func TestSamples(t *testing.T) {
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("LIFEBOAT_FIXTURES is not set: the samples of hostile ZIPs are not here")
	}
	folder := filepath.Join(fixtures, "zips")
	index, err := os.ReadFile(filepath.Join(folder, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")[1:]
	if len(lines) < 245 {
		t.Errorf("the index has %d samples", len(lines))
	}
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		sample, proposed := fields[0], fields[12]
		t.Run(sample, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(folder, sample))
			if err != nil {
				t.Fatal(err)
			}
			r := bounded(t, data)
			if want := wanted(t, sample, proposed); r.String() != want {
				t.Errorf("%s, want %s\n%s", r, want, sentences(r))
			}
			name := filepath.Base(sample)
			switch {
			case strings.HasPrefix(name, "reject__") && r.Verdict != zipcheck.Reject && name != "reject__non_ascii_original_name.zip":
				t.Errorf("PyPI rejects it, we say %s", r)
			case strings.HasPrefix(name, "accept__") && r.Verdict != zipcheck.Accept && !strings.HasPrefix(name, "accept__short_usize"):
				t.Errorf("PyPI accepts it, we say %s\n%s", r, sentences(r))
			}
		})
	}
}

// bounded checks and reads an archive within a second and 64 MB of allocations.
func bounded(t *testing.T, data []byte) *zipcheck.Report {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r := whole(t, data, zipcheck.Strict)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if took > time.Second && !raceEnabled {
		t.Errorf("it took %s", took)
	}
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<20 {
		t.Errorf("it took %d bytes of memory", spent)
	}
	return r
}

// whole checks and reads an archive.
func whole(t testing.TB, data []byte, profile zipcheck.Profile) *zipcheck.Report {
	t.Helper()
	r, err := zipcheck.Check(t.Context(), bytes.NewReader(data), int64(len(data)), zipcheck.Limits{}, profile)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// sentences lists why.
func sentences(r *zipcheck.Report) string {
	var b strings.Builder
	for _, reason := range r.Reasons {
		b.WriteString(string(reason.Word) + ": " + reason.Name + ": " + reason.Text + "\n")
	}
	return b.String()
}
