package zipline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// An export of Zipline 3 (format 3) has its records in objects, by keys that mean nothing; folders name their files. It is
// read as one of format 4 with the values that Zipline's import of version 3 gives to what it makes, so that all but the
// import itself is one way for both formats.

// legacyParts are the objects that an export of format 3 always has.
var legacyParts = []string{"users", "files", "thumbnails", "folders", "urls", "invites"}

// ignored is what Zipline's import of version 3 passes over.
type ignored struct {
	Invites    int64 `json:"invites"`
	Usable     int64 `json:"usable"` // of the invites: neither used nor expired
	Thumbnails int64 `json:"thumbnails"`
	Stats      int64 `json:"stats"`
	Embeds     int64 `json:"embeds"` // users with texts for embeds
}

var errKnown = errors.New("all that is wanted is known")

// legacyExport reports whether the export in a backup is one of format 3.
func legacyExport(ctx context.Context, r *app.Replay) (bool, error) {
	if format := r.Facts.Versions["export"]; format != "" {
		return format == "3", nil
	}
	body, err := openDocument(ctx, r)
	if err != nil {
		return false, err
	}
	defer body.Close()
	d, format := plainDecoder(app.Stoppable(ctx, body)), ""
	err = d.members("the export", func(key string) error {
		if key != "versions" {
			return d.skip()
		}
		value, err := d.value()
		if err != nil {
			return err
		}
		format = text(value, "export")
		return errKnown
	})
	if err != nil && !errors.Is(err, errKnown) {
		return false, d.explain(err)
	}
	return format == "3", nil
}

func plainDecoder(r io.Reader) *decoder {
	limited := &bound{reader: r, most: maxRow}
	d := &decoder{export: &export{counts: map[string]int64{}}, json: json.NewDecoder(limited), bound: limited}
	d.json.UseNumber()
	return d
}

// walkLegacy hands the records of the wanted parts of an export of format 3 to each; one that is no object comes as nil. Of
// stats, every row comes as nil.
func walkLegacy(r io.Reader, each func(part, key string, record fields) error, wanted ...string) (versions fields, err error) {
	d, seen := plainDecoder(r), map[string]bool{}
	want := map[string]bool{}
	for _, part := range wanted {
		want[part] = true
	}
	known := map[string]bool{"stats": true}
	for _, part := range legacyParts {
		known[part] = true
	}
	err = d.members("the export", func(part string) error {
		switch {
		case part == "versions":
			value, err := d.value()
			versions, _ = value.(fields)
			return err
		case !known[part]:
			return d.skip()
		}
		seen[part] = true
		return d.records(part, want[part], each)
	})
	if err != nil {
		return nil, d.explain(err)
	}
	for _, part := range legacyParts {
		if !seen[part] {
			return nil, failure.New(failure.Invalid, "the export of Zipline 3 has no %s", part).
				WithHint("it is not one of Zipline 3.7.11 or newer, or is cut; make it again in Zipline 3's settings")
		}
	}
	return versions, nil
}

// records reads one part: an object, or the list that stats are.
func (d *decoder) records(part string, wanted bool, each func(part, key string, record fields) error) error {
	token, err := d.token()
	if err != nil {
		return err
	}
	if stats := part == "stats"; stats && token != json.Delim('[') || !stats && token != json.Delim('{') {
		return failure.New(failure.Invalid, "%s of the export of Zipline 3 is of the wrong type", part).
			WithHint("make the export again in Zipline 3's settings")
	}
	for d.json.More() {
		key, record := "", fields(nil)
		if part != "stats" {
			token, err := d.token()
			if err != nil {
				return err
			}
			key, _ = token.(string)
		}
		d.bound.next()
		if !wanted || part == "stats" {
			var passed json.RawMessage // far quicker than to read it
			err = d.json.Decode(&passed)
		} else {
			var value any
			err = d.json.Decode(&value)
			record, _ = value.(fields)
		}
		if err != nil {
			return err
		}
		if wanted {
			if err := each(part, key, record); err != nil {
				return err
			}
		}
	}
	_, err = d.token()
	return err
}

// ignoredOf counts what the import passes over.
func ignoredOf(ctx context.Context, r *app.Replay, now time.Time) (*ignored, error) {
	body, err := openDocument(ctx, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	n := &ignored{}
	_, err = walkLegacy(app.Stoppable(ctx, body), func(part, _ string, record fields) error {
		switch part {
		case "users":
			embed, _ := record["embed"].(fields)
			for _, value := range embed {
				if value != nil && value != "" {
					n.Embeds++
					break
				}
			}
		case "invites":
			n.Invites++
			at, err := time.Parse(time.RFC3339Nano, str(record, "expires_at"))
			if used, _ := record["used"].(bool); !used && (err != nil || at.After(now)) {
				n.Usable++
			}
		case "thumbnails":
			n.Thumbnails++
		case "stats":
			n.Stats++
		}
		return nil
	}, "users", "invites", "thumbnails", "stats")
	return n, err
}

// converting writes an export of format 3 as one of format 4.
type converting struct {
	*partWriter
	folders []string          // keys
	folder  map[uint64]uint32 // hash of a file's key to the number of its folder, from 1
}

// legacyBackup opens the export of format 3 in a backup as one of format 4: the export is read twice, and in memory are 16
// bytes for each file that lies in a folder.
func legacyBackup(ctx context.Context, r *app.Replay) io.ReadCloser {
	reader, writer := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writer.CloseWithError(convert(ctx, writer, r))
	}()
	return &converted{reader, ended}
}

type converted struct {
	*io.PipeReader
	ended chan struct{}
}

// Close ends the conversion.
func (c *converted) Close() error {
	err := c.PipeReader.Close()
	<-c.ended
	return err
}

func convert(ctx context.Context, w io.Writer, r *app.Replay) error {
	c := &converting{partWriter: newPartWriter(w, "[]"), folder: map[uint64]uint32{}}
	pass := func(each func(part, key string, record fields) error, wanted ...string) (fields, error) {
		body, err := openDocument(ctx, r)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		return walkLegacy(app.Stoppable(ctx, body), each, wanted...)
	}
	c.text(`{"data":{"settings":{}`)
	if _, err := pass(c.first, "users", "folders"); err != nil {
		return err
	}
	versions, err := pass(c.second, "users", "files", "folders", "urls")
	if err != nil {
		return err
	}
	for _, array := range arrays {
		if !c.begun[array] {
			c.open(array)
		}
	}
	c.shut()
	c.text(`},"versions":`)
	c.value(fields{"zipline": text(versions, "zipline"), "node": text(versions, "node"), "export": "4"})
	c.text(`}`)
	return c.Flush()
}

func (c *converting) row(array string, row fields) error {
	c.open(array)
	return c.put("", row)
}

// noDate stands for a date that format 3 does not have and that is not compared.
const noDate = "1970-01-01T00:00:00.000Z"

// first writes the oauth providers, and learns where the files lie.
func (c *converting) first(part, key string, record fields) error {
	if part == "folders" {
		c.folders = append(c.folders, key)
		for _, file := range filesOf(record) {
			c.folder[digestOf("file", file)] = uint32(len(c.folders))
		}
		return nil
	}
	providers, _ := record["oauth"].([]any)
	for n, each := range providers {
		row := fields(nil)
		if o, ok := each.(fields); ok {
			row = fields{
				"id": fmt.Sprintf("%s/%d", key, n+1), "createdAt": noDate, "userId": key, "provider": o["provider"], "username": o["username"],
				"oauthId": o["oauth_id"], "accessToken": o["access_token"], "refreshToken": o["refresh_token"],
			}
		}
		if err := c.row("userOauthProviders", row); err != nil {
			return err
		}
	}
	return nil
}

// second writes all else.
func (c *converting) second(part, key string, record fields) error {
	if record == nil {
		return c.row(part, nil)
	}
	row := fields{"id": key}
	switch part {
	case "users":
		row["createdAt"], row["view"], row["role"] = noDate, fields{}, legacyRole(record)
		row["username"], row["avatar"] = record["username"], record["avatar"]
		row["password"], row["totpSecret"] = orNull(record["password"]), record["totp_secret"]
	case "files":
		row["name"], row["originalName"] = record["name"], orNull(record["original_name"])
		row["folderId"] = nil
		if n := c.folder[digestOf("file", key)]; n > 0 {
			row["folderId"] = c.folders[n-1]
		}
		for name, from := range map[string]string{"size": "size", "type": "type", "favorite": "favorite", "createdAt": "created_at", "views": "views", "userId": "user"} {
			row[name] = record[from]
		}
		row["deletesAt"], row["maxViews"], row["password"] = orNull(record["expires_at"]), orNull(record["max_views"]), orNull(record["password"])
	case "folders":
		user, _ := record["user"].(string)
		row["userId"], row["parentId"], row["allowUploads"], row["files"] = user, nil, false, []any{}
		row["name"], row["public"], row["createdAt"] = record["name"], record["public"], record["created_at"]
	case "urls":
		for name, from := range map[string]string{"code": "code", "destination": "destination", "createdAt": "created_at", "views": "views", "userId": "user"} {
			row[name] = record[from]
		}
		row["vanity"], row["maxViews"], row["password"], row["enabled"] = orNull(record["vanity"]), orNull(record["max_views"]), nil, true
	}
	return c.row(part, row)
}

// legacyRole returns the role that an import of version 3 gives; "" where the record says nothing clear.
func legacyRole(record fields) string {
	super, ok := record["super_administrator"].(bool)
	admin, also := record["administrator"].(bool)
	switch {
	case !ok || !also:
		return ""
	case super:
		return "SUPERADMIN"
	case admin:
		return "ADMIN"
	}
	return "USER"
}

// orNull returns null for what an import of version 3 takes as nothing.
func orNull(value any) any {
	if number, is := value.(json.Number); value == "" || is && number.String() == "0" {
		return nil
	}
	return value
}
