package foreign

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/zipcheck"
)

// The paths of a backup of Squidex that matter here. The numbers are a hash of the name.
const (
	squidexEvents      = "events/"
	squidexAttachments = "attachments/"
	squidexFirst       = "events/0/0.json"
	squidexSettings    = "attachments/522/settings.json"
	squidexUsers       = "attachments/135/users.json"
	squidexCreated     = "AppCreatedEvent"
	// maxEvent is how much of the first event is read, in bytes.
	maxEvent = 1 << 20
)

func namedSquidex(r *zipcheck.Report) bool {
	return slices.ContainsFunc(r.Entries, func(e zipcheck.Entry) bool { return e.Name == squidexFirst })
}

// openSquidex goes by the first event, in either of the two shapes that Squidex reads.
func (a *Archive) openSquidex(ctx context.Context) error {
	first := slices.IndexFunc(a.report.Entries, func(e zipcheck.Entry) bool { return e.Name == squidexFirst })
	body, err := a.report.Open(ctx, first)
	if err != nil {
		return err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxEvent))
	if err != nil && failure.KindOf(err) == failure.Corrupt {
		return nil // Check will say so
	}
	if err != nil {
		return err
	}
	var event struct {
		Now    struct{ T string }    `json:"n"`
		Before struct{ Type string } `json:"data"`
	}
	if json.Unmarshal(text, &event) != nil || event.Now.T == "" && event.Before.Type == "" {
		return nil
	}
	return a.takeSquidex(event.Now.T == squidexCreated || event.Now.T == "" && event.Before.Type == squidexCreated)
}

// takeSquidex presents events and descriptions as documents, assets and the app's picture as objects. An event may hold
// the secrets of clients.
func (a *Archive) takeSquidex(created bool) error {
	var items []item
	for i := range a.report.Entries {
		e := &a.report.Entries[i]
		blob := strings.HasPrefix(e.Name, squidexAttachments) && (strings.HasSuffix(e.Name, ".asset") || strings.HasSuffix(e.Name, "/avatar.image"))
		switch {
		case e.Dir() || e.Shadowed:
		case blob:
			items = append(items, item{entry: i, path: e.Name, key: e.Name, sort: "asset"})
		default:
			items = append(items, item{entry: i, path: e.Name, document: true, secret: true})
		}
	}
	if !a.arrange(items) {
		return nil
	}
	a.Kind = "squidex"
	a.Why = "its events are those of a backup of Squidex: events/0/0.json is the first"
	a.Facts = app.Facts{Application: "Squidex", Secrets: true}
	if !created {
		a.problem("first-event", squidexFirst, "the first event is not the one that creates the app: Squidex will not restore the backup; make it again")
	}
	return nil
}

// checkSquidex looks for what Squidex itself does not report: it reads events up to the first number that is missing and
// says that all is well.
func (a *Archive) checkSquidex() {
	numbers := map[int]bool{}
	attachments, last := int64(0), -1
	for _, i := range a.items {
		if strings.HasPrefix(i.path, squidexAttachments) {
			attachments++
		}
		if n, ok := eventNumber(i.path); ok {
			numbers[n] = true
			last = max(last, n)
		}
	}
	a.Facts.Counts = map[string]int64{"events": int64(len(numbers)), "attachments": attachments}
	a.Why = fmt.Sprintf("it is a backup of Squidex: %d events, %d attachments", len(numbers), attachments)
	for n := range last {
		if !numbers[n] {
			a.problem("missing-event", fmt.Sprintf("%s%d/%d.json", squidexEvents, n/1000, n),
				fmt.Sprintf("the event is missing, and %d come after it: Squidex would restore what is before it only, and say that it is complete; make the backup again", len(numbers)-n))
			break
		}
	}
	for _, path := range []string{squidexSettings, squidexUsers} {
		if _, err := a.Locate(path); err != nil {
			a.problem("missing", path, "Squidex writes it last and will not restore a backup without it: make the backup again")
		}
	}
}

// eventNumber returns the number of the event that a path is of: events/1/1058.json is the 1058th.
func eventNumber(path string) (int, bool) {
	rest, ok := strings.CutPrefix(path, squidexEvents)
	folder, name, _ := strings.Cut(rest, "/")
	digits, isJSON := strings.CutSuffix(name, ".json")
	n, err := strconv.Atoi(digits)
	if !ok || !isJSON || err != nil || n < 0 || strconv.Itoa(n) != digits || strconv.Itoa(n/1000) != folder {
		return 0, false
	}
	return n, true
}
