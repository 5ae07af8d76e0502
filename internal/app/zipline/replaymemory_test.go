package zipline

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/secret"
)

// crowd is how many files the large instance has, all of one user.
const crowd = 300_000

// crowded writes the export of the large instance; year tells the backup from the target.
func crowded(to io.Writer, year int) error {
	w := bufio.NewWriterSize(to, 64<<10)
	_, _ = fmt.Fprint(w, `{"versions":{"zipline":"4.7.0","node":"v24.21.0","export":"4"},"request":{},"data":{"settings":{}`)
	for _, array := range arrays {
		_, _ = fmt.Fprintf(w, `,%q:[`, array)
		switch array {
		case "users":
			_, _ = fmt.Fprint(w, `{"id":"admin","createdAt":"2025-01-01T00:00:00.000Z","username":"admin","password":null,"avatar":null,"role":"SUPERADMIN","view":{},"totpSecret":null}`)
		case "files":
			for n := range crowd {
				if n > 0 {
					_ = w.WriteByte(',')
				}
				_, _ = fmt.Fprintf(w, `{"id":"cm%023d","createdAt":"%d-01-01T00:00:00.000Z","deletesAt":null,"name":%q,"originalName":null,"size":%d,"type":"image/png","views":1,"maxViews":null,"favorite":false,"password":null,"userId":"admin","folderId":null}`,
					n, year, crowdName(n), n)
			}
		}
		_ = w.WriteByte(']')
	}
	_, _ = fmt.Fprint(w, `}}`)
	return w.Flush()
}

func crowdName(n int) string { return fmt.Sprintf("2026-03-02_%08d.png", n) }

// crowdObjects lists the objects of the large instance, each larger by more than its row says.
type crowdObjects struct{ more int64 }

func (c crowdObjects) List(context.Context) iter.Seq2[app.Object, error] {
	return func(yield func(app.Object, error) bool) {
		for n := range crowd {
			if !yield(app.Object{Key: crowdName(n), Path: uploads + crowdName(n), Size: int64(n) + c.more}, nil) {
				return
			}
		}
	}
}

// fileNotes keep notes where they cost no memory.
type fileNotes string

func (n fileNotes) Get(_ context.Context, name string, value any) (bool, error) {
	file, err := os.Open(filepath.Join(string(n), name))
	if err != nil {
		return false, nil
	}
	defer file.Close()
	return true, json.NewDecoder(file).Decode(value)
}

func (n fileNotes) Put(_ context.Context, name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(n), name), text, 0o600)
}

// TestReplayMemory plans a restore of 300,000 files into a target that has other files under all their names, so that
// each is renamed, and writes the copy that is imported: what is alive stays well below the program's limit of 200 MiB.
func TestReplayMemory(t *testing.T) {
	if testing.Short() || megabytes < 100 {
		t.Skip("it takes a minute")
	}
	const most = 150 << 20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(200 << 20))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/user", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user":{"id":"admin","username":"admin","role":"SUPERADMIN"}}`))
	})
	mux.HandleFunc("GET "+settingsPath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"settings":{},"tampered":[]}`))
	})
	mux.HandleFunc("GET /api/server/status", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"datasource":"s3","storage":{}}`))
	})
	mux.HandleFunc("GET "+exportPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("counts") != "" {
			_, _ = w.Write([]byte(`{"users":1,"files":300000,"urls":0,"folders":0,"invites":0,"thumbnails":0,"metrics":0}`))
			return
		}
		_ = crowded(w, 2024) // the client may be gone
	})
	target, err := NewTarget(TargetOptions{URL: serve(t, mux), Token: secret.New("token"), Datasource: crowdTarget{}})
	if err != nil {
		t.Fatal(err)
	}
	r := &app.Replay{
		ID: "restore", Kind: "zipline", Wishes: app.Wishes{Documents: true, Objects: true}, Notes: fileNotes(t.TempDir()), Working: func(int64, int64) {},
		Facts: app.Facts{Versions: map[string]string{"export": "4"}},
		Open: func(context.Context, string) (io.ReadCloser, error) {
			reader, writer := io.Pipe()
			go func() { writer.CloseWithError(crowded(writer, 2025)) }()
			return reader, nil
		},
		Items: func(ctx context.Context) iter.Seq2[app.Item, error] {
			return func(yield func(app.Item, error) bool) {
				for object, err := range (crowdObjects{}).List(ctx) {
					if !yield(app.Item{Object: object, Chosen: true}, err) {
						return
					}
				}
			}
		},
	}
	live := watchLive(t)
	began := time.Now()
	forecast, err := target.Preflight(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	planned := live()
	if name, put := forecast.Place(app.Item{Object: app.Object{Key: crowdName(7)}, Chosen: true}); !put || name != "2026-03-02_00000007-2.png" {
		t.Errorf("placed as %s, %v", name, put)
	}
	forecast = app.Forecast{}
	p, err := loadPlan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Files) != crowd || len(p.Had) != crowd+1 { // and the administrator
		t.Errorf("%d files are renamed, %d were there", len(p.Files), len(p.Had))
	}
	if err := writeCopy(t.Context(), io.Discard, r, p, partRows, nil); err != nil {
		t.Fatal(err)
	}
	all := live()
	t.Logf("alive: %d MiB for the plan, %d MiB in all; %s", planned>>20, all>>20, time.Since(began))
	if all > most {
		t.Errorf("%d MiB are alive, at most %d may be", all>>20, most>>20)
	}
}

// crowdTarget is a datasource with other bytes under the names of the large instance.
type crowdTarget struct{ datasource.Datasource }

func (crowdTarget) List(ctx context.Context) iter.Seq2[app.Object, error] {
	return crowdObjects{more: 1}.List(ctx)
}

// watchLive returns a function that tells how much was alive at most, as each garbage collection has found it.
func watchLive(t *testing.T) func() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	stop, done := make(chan struct{}), make(chan struct{})
	peaks := make(chan uint64, 1)
	peaks <- 0
	look := func() uint64 {
		metrics.Read(sample)
		peak := max(<-peaks, sample[0].Value.Uint64())
		peaks <- peak
		return peak
	}
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				look()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return func() uint64 { peak := <-peaks; peaks <- peak; return peak }
}
