package zipline

import (
	"context"
	"fmt"
	"io"

	"lifeboat/internal/app"
)

// legacyCopying writes the copy of a backup of Zipline 3 that is imported, in format 3. In memory are the oauth providers,
// the folders, and 4 bytes for each file that lies in one.
type legacyCopying struct {
	*partWriter
	plan      *plan
	view      *view
	providers map[string][]fields // by the id of their user
	folders   []fields            // as they are sent
	inside    map[string][]uint32 // numbers of files, by the id of their folder
	files     uint32
	keeper    fields // the administrator, where nobody is merged
}

// writeLegacyCopy is writeCopy for the import of version 3. It has one part, the rows. A folder names the files that are
// sent and no others: over any other the import would skip it.
func writeLegacyCopy(ctx context.Context, w io.Writer, r *app.Replay, p *plan, _ string, admin fields) error {
	c := &legacyCopying{
		partWriter: newPartWriter(w, "{}"), plan: p, view: backupView(r, p), providers: map[string][]fields{}, inside: map[string][]uint32{},
	}
	if admin != nil && p.Merge == "" {
		c.keeper = fields{"username": p.Admin.Username, "avatar": admin["avatar"], "role": "USER", "totpSecret": admin["totpSecret"]}
	}
	c.text(`{"export3":{"request":{"user":"lifeboat","date":"2026-01-01T00:00:00.000Z",` +
		`"os":{"platform":"linux","arch":"x64","cpus":1,"hostname":"lifeboat","release":"0"},"env":{}}` +
		`,"user_map":{},"thumbnail_map":{},"folder_map":{},"file_map":{},"url_map":{},"invite_map":{},"thumbnails":{},"invites":{}`)
	if err := c.view.each(ctx, func(array, key string, _ []trait, row fields) error { return c.row(array, key, row) }); err != nil {
		return err
	}
	if err := c.end(); err != nil {
		return err
	}
	return c.Flush()
}

// row writes one row, which has its names of the target, or keeps it.
func (c *legacyCopying) row(array, key string, row fields) error {
	if c.plan.exists[c.view.digest(array, key, row)] {
		return nil
	}
	id := str(row, "id")
	switch array {
	case "userOauthProviders":
		c.providers[str(row, "userId")] = append(c.providers[str(row, "userId")], fields{
			"provider": row["provider"], "username": row["username"], "oauth_id": row["oauthId"],
			"access_token": row["accessToken"], "refresh_token": row["refreshToken"],
		})
	case "users":
		return c.record("users", sentID(id), c.user(row, c.providers[id]))
	case "files":
		c.files++
		if folder := str(row, "folderId"); folder != "" {
			c.inside[folder] = append(c.inside[folder], c.files)
		}
		return c.record("files", fileID(c.files), fields{
			"name": row["name"], "original_name": row["originalName"], "type": row["type"], "size": row["size"], "user": c.owner(row),
			"max_views": row["maxViews"], "views": row["views"], "expires_at": row["deletesAt"], "created_at": row["createdAt"],
			"favorite": row["favorite"], "password": row["password"],
		})
	case "folders":
		c.folders = append(c.folders, fields{
			"id": id, "name": row["name"], "public": row["public"], "created_at": row["createdAt"], "user": c.owner(row),
		})
	case "urls":
		return c.record("urls", sentID(id), fields{
			"destination": row["destination"], "vanity": row["vanity"], "code": row["code"], "created_at": row["createdAt"],
			"max_views": row["maxViews"], "views": row["views"], "user": c.owner(row),
		})
	}
	return nil
}

func fileID(n uint32) string { return fmt.Sprintf("f%d", n) }

func (c *legacyCopying) user(row fields, providers []fields) fields {
	role := str(row, "role")
	if providers == nil {
		providers = []fields{}
	}
	return fields{
		"username": row["username"], "password": row["password"], "avatar": row["avatar"], "totp_secret": row["totpSecret"],
		"administrator": role != "USER", "super_administrator": role == "SUPERADMIN", "embed": fields{}, "oauth": providers,
	}
}

// owner returns the id that a row's owner has in the copy; what is nobody's goes to the administrator.
func (c *legacyCopying) owner(row fields) string {
	id := str(row, "userId")
	if _, known := c.view.users[id]; known {
		return sentID(id)
	}
	if c.plan.Merge != "" {
		return sentID(c.plan.Merge)
	}
	return keeper
}

func (c *legacyCopying) end() error {
	for _, folder := range c.folders {
		id := str(folder, "id")
		files := make([]string, 0, len(c.inside[id]))
		for _, n := range c.inside[id] {
			files = append(files, fileID(n))
		}
		folder["files"] = files
		delete(folder, "id")
		if err := c.record("folders", sentID(id), folder); err != nil {
			return err
		}
	}
	for _, part := range []string{"users", "files", "folders", "urls"} {
		if !c.begun[part] {
			if err := c.open(part); err != nil {
				return err
			}
		}
	}
	c.shut()
	versions := c.view.head.versions
	c.text(`,"versions":`)
	if err := c.value(map[string]string{"zipline": versions.zipline, "node": versions.node, "export": "3"}); err != nil {
		return err
	}
	c.text(`}`)
	from := ""
	if c.keeper != nil {
		from = keeper
	}
	if c.plan.Merge != "" {
		from = sentID(c.plan.Merge)
	}
	if from != "" {
		c.text(`,"importFromUser":`)
		if err := c.value(from); err != nil {
			return err
		}
	}
	c.text(`}`)
	return nil
}

// open begins a part; the keeper is the first of the users.
func (c *legacyCopying) open(part string) error {
	if !c.partWriter.open(part) || part != "users" || c.keeper == nil {
		return nil
	}
	return c.put(keeper, c.user(c.keeper, nil))
}

func (c *legacyCopying) record(part, key string, record fields) error {
	if err := c.open(part); err != nil {
		return err
	}
	return c.put(key, record)
}
