package standin

import "encoding/json"

func userRows() []userRow {
	const salted = "$argon2id$v=19$m=65536,t=3,p=4$ZGVtbw$"
	hash := func(text string) *string { text = salted + text; return &text }
	avatar := "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
	return []userRow{
		{base: base{ID: id("user", 1), CreatedAt: stamp(0)}, Username: "nora", Password: hash("bm9yYQ"), Avatar: &avatar, Role: "SUPERADMIN", View: json.RawMessage(`{}`)},
		{base: base{ID: id("user", 2), CreatedAt: stamp(1)}, Username: "pavel", Password: hash("cGF2ZWw"), Role: "ADMIN", View: json.RawMessage(`{}`)},
		{base: base{ID: id("user", 3), CreatedAt: stamp(2)}, Username: "kim", Password: hash("a2lt"), Role: "USER", View: json.RawMessage(`{}`)},
	}
}

func tagRows() []tagRow {
	return []tagRow{
		{base: base{ID: id("tag", 1), CreatedAt: stamp(30)}, Name: "summer", Color: new("#ffaa00"), Files: []string{id("file", 4), id("file", 1)}, UserID: ref("user", 1)},
		{base: base{ID: id("tag", 2), CreatedAt: stamp(31)}, Name: "work", Color: new("#0088ff"), Files: []string{id("file", 3)}, UserID: ref("user", 2)},
	}
}

func inviteRows() []inviteRow {
	expires := stamp(4000)
	return []inviteRow{
		{base: base{ID: id("invite", 1), CreatedAt: stamp(40)}, ExpiresAt: &expires, Code: "Harb0r", MaxUses: new(number(1)), InviterID: id("user", 1)},
		{base: base{ID: id("invite", 2), CreatedAt: stamp(41)}, Code: "qU4y5s", Uses: 1, MaxUses: new(number(5)), InviterID: id("user", 1)},
	}
}

// folderRows holds two folders of one name, which Zipline's own import can't keep apart, and an empty one.
func (i *Instance) folderRows() []folderRow {
	rows := []folderRow{
		{Name: "Photos", Public: true, UserID: id("user", 1)},
		{Name: "2026", Public: true, UserID: id("user", 1), ParentID: ref("folder", 1)},
		{Name: "Notes", UserID: id("user", 1)},
		{Name: "Work", UserID: id("user", 2)},
		{Name: "2026", UserID: id("user", 1), ParentID: ref("folder", 3)},
		{Name: "Q1/Q2 reports", UserID: id("user", 2), ParentID: ref("folder", 4)},
		{Name: "写真", Public: true, AllowUploads: true, UserID: id("user", 3)},
		{Name: "empty", UserID: id("user", 3)},
	}
	for n := range rows {
		rows[n].ID, rows[n].CreatedAt, rows[n].Files = id("folder", n+1), stamp(10+n), []string{}
		for f, file := range i.files {
			if file.folder == n+1 {
				rows[n].Files = append(rows[n].Files, id("file", f+1))
			}
		}
	}
	return rows
}

func urlRows() []urlRow {
	vanity := "größe"
	return []urlRow{
		{base: base{ID: id("url", 1), CreatedAt: stamp(50)}, Code: "hX2b9k", Destination: "https://example.org/timetable?line=7#today", Views: 12, Enabled: true, UserID: ref("user", 1)},
		{base: base{ID: id("url", 2), CreatedAt: stamp(51)}, Code: "Lm0e3W", Vanity: &vanity, Destination: "https://example.org/maße", Enabled: true, UserID: ref("user", 2)},
	}
}

func (i *Instance) fileRows() ([]fileRow, []thumbnailRow) {
	files, thumbnails := []fileRow{}, []thumbnailRow{}
	for n, f := range i.files {
		files = append(files, fileRow{
			base: base{ID: id("file", n+1), CreatedAt: stamp(100 + n)}, Name: f.name, OriginalName: &f.original, Size: number(f.size),
			Type: f.kind, Views: number(n % 4), Favorite: f.favorite, UserID: ref("user", f.user), FolderID: ref("folder", f.folder),
		})
		if f.thumbnail {
			thumbnails = append(thumbnails, thumbnailRow{
				base: base{ID: id("thumb", n+1), CreatedAt: stamp(100 + n)}, Path: thumbnailName(n), FileID: id("file", n+1),
			})
		}
	}
	return files, thumbnails
}

// thumbnailName returns the name of the thumbnail of the n-th file, counted from 0.
func thumbnailName(n int) string { return ".thumbnail." + id("file", n+1) + ".jpg" }

// metricRows holds three measurements of an instance that grows.
func (i *Instance) metricRows() []json.RawMessage {
	type share struct {
		Username *string `json:"username"`
		Sum      int     `json:"sum"`
		Storage  int64   `json:"storage"`
		Views    int     `json:"views"`
	}
	rows := []json.RawMessage{}
	name := "nora"
	for n := range 3 {
		count := len(i.files) * (n + 1) / 3
		storage := int64(0)
		for _, f := range i.files[:count] {
			storage += f.size
		}
		rows = append(rows, compact(map[string]any{
			"id": id("metric", n+1), "createdAt": stamp(200 + n),
			"data": map[string]any{
				"users": 3, "files": count, "fileViews": 4 * n, "urls": 2, "urlViews": 12, "storage": storage,
				"filesUsers": []share{{Username: &name, Sum: count, Storage: storage, Views: 4 * n}},
				"urlsUsers":  []any{}, "types": []any{map[string]any{"type": "text/plain", "sum": count}},
			},
		}))
	}
	return rows
}
