package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"regexp"
)

// streaming is a Zipline whose export has so many metrics that it is of about the given size. It makes them while it
// answers.
func streaming(before, after []byte, metric string, size int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		rows := size / len(metric)
		if r.URL.Query().Has("counts") {
			had := bytes.Count(after, []byte(`"createdAt"`))
			files := len(regexp.MustCompile(`"originalName"`).FindAll(before, -1))
			fmt.Fprintf(w, `{"users":3,"files":%d,"urls":2,"folders":8,"invites":2,"thumbnails":0,"metrics":%d}`, files, rows+had)
			return
		}
		out := bufio.NewWriterSize(w, 1<<20)
		_, _ = out.Write(before)
		_, _ = out.WriteString(`"metrics":[`)
		for n := range rows {
			fmt.Fprintf(out, metric, n)
		}
		_, _ = out.Write(after)
		_ = out.Flush()
	})
}
