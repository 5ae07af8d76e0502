package zipline

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/datasource"
)

// TestFixture makes a snapshot of the recorded instance, end to end.
func TestFixture(t *testing.T) {
	fixtures := os.Getenv("LIFEBOAT_FIXTURES")
	if fixtures == "" {
		t.Skip("set LIFEBOAT_FIXTURES to the folder of the recorded fixtures to run this test")
	}
	folder := filepath.Join(fixtures, "zipline")
	export, err := os.ReadFile(filepath.Join(folder, "export.json"))
	if err != nil {
		t.Fatal(err)
	}
	server := standin.New(standin.Options{Export: func() []byte { return export }, OwnerlessURLs: 1})
	sink, facts, err := snapshot(t, server, Options{
		Metrics: true, Datasource: datasource.NewFolder(filepath.Join(folder, "uploads"), nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"note counts urls"}, sink.short()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	thumbnails := 0
	for path, object := range sink.objects {
		if object.Type == "thumbnail" {
			thumbnails++
		}
		if path != "uploads/"+object.Key || !object.Settled {
			t.Errorf("object %+v", object)
		}
	}
	if len(sink.objects) != 65 || thumbnails != 3 {
		t.Errorf("%d objects, %d thumbnails", len(sink.objects), thumbnails)
	}
	want := map[string]int64{
		"users": 4, "userPasskeys": 1, "userQuotas": 2, "userOauthProviders": 2, "userTags": 5, "invites": 3,
		"folders": 15, "urls": 8, "files": 62, "thumbnails": 3, "metrics": 7,
	}
	if diff := cmp.Diff(want, facts.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if facts.Version != "4.6.3" || facts.Versions["export"] != "4" || facts.Versions["node"] != "v24.21.0" || !facts.Secrets {
		t.Errorf("facts: %+v", facts)
	}
	plain, err := readExport(strings.NewReader(string(export)), true)
	if err != nil {
		t.Fatal(err)
	}
	if plain.digest.hex() != facts.Digest || shuffledDigest(t, export) != facts.Digest {
		t.Error("the digest depends on the order of the rows, or on the request")
	}
}

// shuffledDigest returns the digest of an export after shuffling every array and inner id list.
func shuffledDigest(t *testing.T, export []byte) string {
	t.Helper()
	var all map[string]map[string]any
	if err := json.Unmarshal(export, &all); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	shuffle := func(list any) {
		rows, _ := list.([]any)
		random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	for _, member := range all["data"] {
		shuffle(member)
	}
	for _, name := range []string{"userTags", "folders"} {
		for _, row := range all["data"][name].([]any) {
			shuffle(row.(map[string]any)["files"])
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	e, err := readExport(strings.NewReader(string(text)), true)
	if err != nil {
		t.Fatal(err)
	}
	return e.digest.hex()
}

// TestSample makes a snapshot of the made-up instance: nothing is odd about it.
func TestSample(t *testing.T) {
	instance, folder := standin.Sample(), t.TempDir()
	if err := instance.WriteUploads(folder); err != nil {
		t.Fatal(err)
	}
	server := standin.New(standin.Options{Export: instance.Export})
	sink, facts, err := snapshot(t, server, Options{Metrics: true, Datasource: datasource.NewFolder(folder, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{}, sink.short()); diff != "" || len(sink.objects) != 20 {
		t.Errorf("%d objects, findings:\n%s", len(sink.objects), diff)
	}
	if facts.Digest != shuffledDigest(t, instance.Export()) {
		t.Error("the digest depends on the order of the rows")
	}
}
