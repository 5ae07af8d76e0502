package zipline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// measure is a sink that throws documents away and looks at the heap every now and then.
type measure struct {
	*record
	bytes int64
	peak  uint64
}

func (m *measure) Document(_ context.Context, _ app.Document, body io.Reader) error {
	buffer := make([]byte, 32<<10)
	for chunk := 0; ; chunk++ {
		n, err := body.Read(buffer)
		m.bytes += int64(n)
		if chunk%400 == 0 {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			m.peak = max(m.peak, stats.HeapAlloc)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// TestStreaming reads an export of many megabytes, avatars and metrics, that is made on the fly.
func TestStreaming(t *testing.T) {
	const users, metrics = megabytes * 8, megabytes * 50
	avatar := strings.Repeat("QUFB", 32<<10) // 128 KiB
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Has("counts") {
			fmt.Fprintf(w, `{"users":%d,"metrics":%d}`, users, metrics)
			return
		}
		var frame bytes.Buffer
		frame.WriteString(exportOf(`"users":[USERS]`, `"metrics":[METRICS]`))
		for i, part := range strings.FieldsFunc(strings.NewReplacer("[USERS]", "[\x00]", "[METRICS]", "[\x00]").Replace(frame.String()), func(c rune) bool { return c == 0 }) {
			fmt.Fprint(w, part)
			comma := ""
			for n := range []int{users, metrics, 0}[i] {
				fmt.Fprint(w, comma)
				comma = ","
				if i == 0 {
					fmt.Fprintf(w, `{"id":"u%d","createdAt":"2026-01-01T00:00:00.000Z","username":"u%d","avatar":"%s","role":"USER","view":{}}`, n, n, avatar)
				} else {
					fmt.Fprintf(w, `{"id":"m%d","createdAt":"2026-01-01T00:00:00.000Z","data":{"users":1,"files":1,"fileViews":1,"urls":1,"urlViews":1,"storage":1,"filesUsers":[{"username":"a","sum":1,"storage":1,"views":1}],"urlsUsers":[],"types":[{"type":"a/b","sum":1}]}}`, n)
				}
			}
		}
	})
	source, err := New(Options{URL: serve(t, handler), Token: secret.New("t"), Datasource: listing{}, Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sink := &measure{record: newRecord()}
	facts, err := source.Snapshot(t.Context(), backup.Scope{}, sink)
	if err != nil || len(sink.found) != 0 || facts.Counts["users"] != users || facts.Counts["metrics"] != metrics {
		t.Fatalf("%v, %v, %v", err, sink.found, facts.Counts)
	}
	if sink.bytes < megabytes<<20 {
		t.Errorf("the export has only %d bytes", sink.bytes)
	}
	if grown := int64(sink.peak) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}

// TestLargeRow refuses a row that would not fit into memory, without reading it to its end.
func TestLargeRow(t *testing.T) {
	start := strings.TrimSuffix(exportOf(`"users":["`), `"]}}`)
	start = start[:strings.Index(start, `"users":["`)+len(`"users":["`)]
	endless := readerFunc(func(p []byte) (int, error) {
		for i := range p {
			p[i] = 'x'
		}
		return len(p), nil
	})
	_, err := readWith(io.MultiReader(strings.NewReader(start), endless), true, 2<<20, nil)
	checkError(t, err, failure.Invalid, "2 MiB", "avatar")
}

// FuzzExport: whatever a server sends ends with an export or an Invalid error.
func FuzzExport(f *testing.F) {
	f.Add([]byte(exportOf()))
	f.Add([]byte(exportOf(`"files":[` + fileRow("1", `"a\ud800"`, "1e3") + `]`)))
	f.Add([]byte(exportOf(`"new":{"a":[1]}`, `"userTags":[{"files":["b","a",1]}]`)))
	f.Add([]byte(`{"versions":{"export":"3"}}`))
	f.Add([]byte(`{"versions":[],"request":7,"data":{"settings":null}}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := readExport(bytes.NewReader(text), false)
		if err != nil {
			if failure.KindOf(err) != failure.Invalid {
				t.Errorf("kind %s: %v", failure.KindOf(err), err)
			}
			return
		}
		again, err := readExport(bytes.NewReader(text), false)
		if err != nil || again.digest.hex() != e.digest.hex() {
			t.Errorf("the second time it is different: %v", err)
		}
		e.findings()
	})
}
