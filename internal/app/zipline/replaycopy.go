package zipline

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"lifeboat/internal/app"
)

// What an import is sent: all rows but metrics, or metrics only.
const (
	partRows    = "rows"
	partMetrics = "metrics"
)

// keeper is the id, in the copy, of the user whose things the administrator gets where the backup has no such user.
const keeper = "lifeboat-keeper"

// sentID is the id of a user in the copy: no user of the target has it, which the import would skip.
func sentID(id string) string { return "lifeboat-" + id }

// copying writes the copy of a backup's export that is imported.
type copying struct {
	w     *bufio.Writer
	plan  *plan
	view  *view
	part  string
	admin fields // the administrator's row on the target
	array string // that is being written; "" between arrays
	rows  int64
	done  map[string]bool
	files map[uint64]bool // hashes of the ids of files that are sent and have a tag
}

// writeCopy streams the body of an import: no more than a row is in memory, and what a view keeps. The importing
// administrator's own row, admin, keeps what it has where nobody is merged into it. Nothing of the backup's request
// (the environment of a server) is in it.
func writeCopy(ctx context.Context, w io.Writer, r *app.Replay, p *plan, part string, admin fields) error {
	c := &copying{
		w: bufio.NewWriterSize(w, 64<<10), plan: p, view: backupView(r, p), part: part, admin: admin,
		done: map[string]bool{}, files: map[uint64]bool{},
	}
	began := false
	err := c.view.each(ctx, func(array, key string, _ []trait, row fields) error {
		if !began {
			began = true
			c.begin()
		}
		return c.row(array, key, row)
	})
	if err != nil {
		return err
	}
	if !began {
		c.begin()
	}
	if err := c.end(); err != nil {
		return err
	}
	return c.w.Flush()
}

func (c *copying) begin() {
	versions := c.view.head.versions
	c.text(`{"export4":{"versions":`)
	c.value(map[string]string{"zipline": versions.zipline, "node": versions.node, "export": "4"})
	c.text(`,"request":{"user":"lifeboat:lifeboat","date":"2026-01-01T00:00:00.000Z",` +
		`"os":{"platform":"linux","arch":"x64","cpus":1,"hostname":"lifeboat","release":"0"},"env":{}},"data":{"settings":{}`)
}

func (c *copying) end() error {
	for _, array := range arrays {
		if !c.done[array] {
			if err := c.open(array); err != nil {
				return err
			}
		}
	}
	c.shut()
	merge := any(nil)
	switch {
	case c.part != partRows:
	case c.plan.Merge != "":
		merge = sentID(c.plan.Merge)
	case c.admin != nil:
		merge = keeper
	}
	c.text(`}},"config":{"settings":false,"mergeCurrentUser":`)
	c.value(merge)
	c.text(`}}`)
	return nil
}

// open begins an array.
func (c *copying) open(array string) error {
	if c.array == array {
		return nil
	}
	c.shut()
	c.array, c.rows, c.done[array] = array, 0, true
	c.text(`,"` + array + `":[`)
	if array != "users" || c.part != partRows || c.plan.Merge != "" || c.admin == nil {
		return nil
	}
	own := fields{"id": keeper, "createdAt": c.admin["createdAt"], "username": c.plan.Admin.Username, "password": nil, "role": "USER"}
	for _, name := range []string{"avatar", "view", "totpSecret"} {
		own[name] = c.admin[name]
	}
	if _, ok := own["view"].(fields); !ok {
		own["view"] = fields{}
	}
	return c.put(own)
}

func (c *copying) shut() {
	if c.array != "" {
		c.text(`]`)
	}
	c.array = ""
}

// row writes one row, which has its names of the target.
func (c *copying) row(array, key string, row fields) error {
	if (array == "metrics") != (c.part == partMetrics) {
		return nil
	}
	if err := c.open(array); err != nil {
		return err
	}
	if c.plan.exists[keyDigest(array, key)] {
		return nil
	}
	id := str(row, "id")
	switch array {
	case "users":
		row["id"] = sentID(id)
	case "folders":
		if name := c.plan.Sent[id]; name != "" {
			row["name"] = name
		}
	case "files":
		if hash := digestOf("id", id); c.view.tagged[hash] != 0 && !c.plan.fixed[c.view.ownerOf(row["userId"])] {
			c.files[hash] = true
		}
	case "userTags":
		row["files"] = c.sent(list(row, "files"))
	}
	c.refer(array, row)
	return c.put(row)
}

// sent returns those ids of files that are in the copy: the import fails over any other.
func (c *copying) sent(ids []string) []string {
	kept := []string{}
	for _, id := range ids {
		if c.files[digestOf("id", id)] {
			kept = append(kept, id)
		}
	}
	return kept
}

// refer gives a row the id that its owner has in the copy; what is nobody's goes to the administrator.
func (c *copying) refer(array string, row fields) {
	name := "userId"
	if array == "invites" {
		name = "inviterId"
	}
	if array == "users" || array == "metrics" {
		return
	}
	id := str(row, name)
	_, known := c.view.users[id]
	switch {
	case known:
		row[name] = sentID(id)
	case c.plan.Merge != "":
		row[name] = sentID(c.plan.Merge)
	default:
		row[name] = keeper
	}
}

func (c *copying) put(row fields) error {
	if c.rows > 0 {
		c.text(`,`)
	}
	c.rows++
	return c.value(row)
}

func (c *copying) text(s string) { _, _ = c.w.WriteString(s) } // Flush returns its error

func (c *copying) value(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write a row of the copy: %w", err)
	}
	_, err = c.w.Write(text)
	return err
}
