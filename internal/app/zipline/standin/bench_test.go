package standin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"lifeboat/internal/app/zipline/standin"
)

// BenchmarkImport: a drill may import many files; the time per file must not grow with their number.
func BenchmarkImport(b *testing.B) {
	for _, files := range []int{1_000, 50_000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			var export standin.Export
			if err := json.Unmarshal(standin.Sample().Export(), &export); err != nil {
				b.Fatal(err)
			}
			var owner struct{ ID string }
			if err := json.Unmarshal(export.Data.Users[0], &owner); err != nil {
				b.Fatal(err)
			}
			export.Data.Files, export.Data.UserTags = nil, []json.RawMessage{}
			for n := range files {
				export.Data.Files = append(export.Data.Files, fmt.Appendf(nil,
					`{"id":"f%d","createdAt":"2026-01-01T00:00:00.000Z","name":"%[1]d.txt","size":1,"type":"text/plain","views":0,"favorite":false,"userId":%q}`, n, owner.ID))
			}
			body, err := json.Marshal(map[string]any{"export4": export, "config": struct{}{}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				request := httptest.NewRequest(http.MethodPost, importPath, bytes.NewReader(body))
				request.Header.Set("Authorization", standin.SuperAdminToken)
				request.Header.Set("Content-Type", "application/json")
				answer := httptest.NewRecorder()
				standin.New(standin.Options{}).ServeHTTP(answer, request)
				if answer.Code != http.StatusOK {
					b.Fatalf("%d %s", answer.Code, answer.Body)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "µs/file")
		})
	}
}
