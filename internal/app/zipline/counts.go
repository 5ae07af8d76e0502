package zipline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// counts are the numbers of rows that Zipline itself counts, by the name of their array.
type counts map[string]int64

// countOnly asks Zipline to count its tables. It is the first call of a snapshot: quick, so a dead server, a wrong
// token or a wrong role is found before the export is asked for. Without an error and without counts, this
// Zipline doesn't count: versions before 4.5.0 may ignore or refuse the parameter.
func (s *Source) countOnly(ctx context.Context) (counts, error) {
	answer, err := s.client.get(ctx, "counts=true", s.options.Timeout)
	if err != nil {
		if errors.Is(err, errQuery) {
			return nil, nil
		}
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(s.transport(ctx, answer.Body), maxErrorBody))
	if err != nil {
		return nil, err
	}
	var counted counts
	if json.Unmarshal(body, &counted) == nil && len(counted) > 0 {
		return counted, nil
	}
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("<")):
		return nil, errPage(s.client.whose(), answer)
	case !bytes.HasPrefix(body, []byte("{")):
		return nil, failure.New(failure.Invalid, "the answer is not a JSON object").
			WithHint("check that the source's url is that of Zipline itself, without a path")
	}
	return nil, nil // an object of another shape: the export itself will tell
}

// compare holds the export against Zipline's own counts. The two are separate queries, so a row may come or go
// between them; when they differ, Zipline counts again, and what lies between the two counts, give or take one,
// is a note. An export that holds less is a problem. There are always fewer urls, if some have no owner.
func (s *Source) compare(ctx context.Context, before counts, e *export, sink app.Sink) {
	if before == nil {
		sink.Found(note("counts", document, "this Zipline does not count its rows, so the export could not be compared with that"))
		return
	}
	var after counts
	for _, kind := range arrays {
		counted, ok := before[kind]
		exported, here := e.counts[kind]
		if !ok || !here || counted == exported || kind == "metrics" && exported == 0 {
			continue
		}
		if kind == "urls" && exported < counted {
			sink.Found(note("counts", kind, "Zipline counts %d and exports %d: URLs without an owner are never exported", counted, exported))
			continue
		}
		if after == nil {
			after = s.recount(ctx, before)
		}
		sink.Found(difference(kind, counted, after[kind], exported))
	}
}

// recount counts again; when that fails, nothing has changed as far as we know.
func (s *Source) recount(ctx context.Context, before counts) counts {
	after, err := s.countOnly(ctx)
	if err != nil || after == nil {
		return before
	}
	return after
}

func difference(kind string, before, after, exported int64) app.Finding {
	if least := min(before, after) - 1; exported < least {
		return problem("counts", kind, "the export holds %d, but Zipline counts %d: rows are missing from the export; look into Zipline's log", exported, min(before, after))
	}
	return note("counts", kind, "Zipline counted %d before and %d after the export, which holds %d: something changed meanwhile",
		before, after, exported)
}

// configFiles stores the files that Zipline's own operator keeps beside it, such as .env or docker-compose.yml.
func (s *Source) configFiles(ctx context.Context, sink app.Sink) error {
	for _, path := range slices.Sorted(slices.Values(s.options.ConfigFiles)) {
		name := configName(path)
		content, modified, err := readConfig(path)
		if err != nil {
			sink.Found(problem("config", name, "the configuration file %s is not in the backup: %v; correct config-files, or make the file readable", path, err))
			continue
		}
		err = sink.Document(ctx, app.Document{Path: name, Modified: modified, Secret: true}, bytes.NewReader(content))
		if err != nil {
			return err
		}
	}
	return nil
}
