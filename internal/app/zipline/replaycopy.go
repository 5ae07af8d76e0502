package zipline

import (
	"context"
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
	*partWriter
	plan  *plan
	view  *view
	part  string
	admin fields          // the administrator's row on the target
	files map[uint64]bool // hashes of the ids of files that are sent and have a tag
}

// writeCopy streams the body of an import: no more than a row is in memory, and what a view keeps. The importing
// administrator's own row, admin, keeps what it has where nobody is merged into it. Nothing of the backup's request
// (the environment of a server) is in it.
func writeCopy(ctx context.Context, w io.Writer, r *app.Replay, p *plan, part string, admin fields) error {
	c := &copying{newPartWriter(w, "[]"), p, backupView(r, p), part, admin, map[uint64]bool{}}
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
	return c.Flush()
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
		if !c.begun[array] {
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

// open begins an array; the users with the administrator, who keeps what he has.
func (c *copying) open(array string) error {
	if !c.partWriter.open(array) || array != "users" || c.part != partRows || c.plan.Merge != "" || c.admin == nil {
		return nil
	}
	own := fields{"id": keeper, "createdAt": c.admin["createdAt"], "username": c.plan.Admin.Username, "password": nil, "role": "USER"}
	for _, name := range []string{"avatar", "view", "totpSecret"} {
		own[name] = c.admin[name]
	}
	if _, ok := own["view"].(fields); !ok {
		own["view"] = fields{}
	}
	return c.put("", own)
}

// row writes one row, which has its names of the target.
func (c *copying) row(array, key string, row fields) error {
	if (array == "metrics") != (c.part == partMetrics) {
		return nil
	}
	if err := c.open(array); err != nil {
		return err
	}
	if c.plan.exists[c.view.digest(array, key, row)] {
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
		row["files"] = c.sent(filesOf(row))
	}
	c.refer(array, row)
	return c.put("", row)
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
