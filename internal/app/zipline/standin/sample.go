package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// began is when the made-up instance was set up; every time in it is later and fixed.
var began = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

// Instance is a small made-up Zipline: three users, eight folders, eighteen files, two thumbnails. Its rows and its
// objects match. Methods may be called concurrently, but for ChangeTwo.
type Instance struct {
	files      []file
	generation int // how often ChangeTwo was called
}

// file is a row of the export and its object.
type file struct {
	name, original, kind string
	size                 int64
	user, folder         int // 1-based; 0: none
	favorite             bool
	thumbnail            bool // a video with a thumbnail
}

// Sample returns the instance: the same rows and bytes at each call.
func Sample() *Instance {
	return &Instance{files: []file{
		{name: "Qm3vT1.mp4", original: "harbour at dusk.mp4", kind: "video/mp4", size: 4_400_000, user: 1, folder: 2, thumbnail: true},
		{name: "s8Yk2L.webm", original: "screen recording.webm", kind: "video/webm", size: 1_700_000, user: 2, folder: 4, thumbnail: true},
		{name: "handbook-2026.pdf", original: "handbook-2026.pdf", kind: "application/pdf", size: 2_300_000, user: 2, folder: 5},
		{name: "ZkP0aa.jpg", original: "IMG_0412.jpg", kind: "image/jpeg", size: 810_000, user: 1, folder: 2, favorite: true},
		{name: "ZkP0ab.jpg", original: "IMG_0413.jpg", kind: "image/jpeg", size: 640_000, user: 1, folder: 2},
		{name: "site-backup.tar.tar.gz", original: "site-backup.tar.gz", kind: "application/gzip", size: 350_000, user: 2},
		{name: "2026-04-11_08:15:59.png", original: "Screenshot.png", kind: "image/png", size: 92_000, user: 3},
		{name: "notes from monday.txt", original: "notes from monday.txt", kind: "text/plain", size: 1_840, user: 1, folder: 3},
		{name: "Straße & Übersicht (1).md", original: "Straße & Übersicht (1).md", kind: "text/markdown", size: 4_096, user: 1, folder: 3},
		{name: "план №2.txt", original: "план №2.txt", kind: "text/plain", size: 777, user: 3, folder: 7},
		{name: "夏の写真 🌊.webp", original: "夏の写真 🌊.webp", kind: "image/webp", size: 48_000, user: 3, folder: 7},
		{name: "cafe\u0301.txt", original: "cafe\u0301.txt", kind: "text/plain", size: 64, user: 3},
		{name: ".htaccess.example", original: ".htaccess.example", kind: "text/plain", size: 133, user: 2},
		{name: "README.md", original: "README.md", kind: "text/markdown", size: 2_048, user: 2, folder: 6},
		{name: "CHANGES.md", original: "CHANGES.md", kind: "text/markdown", size: 1_024, user: 2, folder: 6},
		{name: "empty.log", original: "empty.log", kind: "text/plain", user: 2},
		{name: "100% done + [final] #2.csv", original: "100% done + [final] #2.csv", kind: "text/csv", size: 5_500, user: 1, folder: 5},
		{name: "left-behind.bin", original: "left-behind.bin", kind: "application/octet-stream", size: 12_345},
	}}
}

// id returns the n-th id of a kind: 25 characters that start with "cm", as Zipline's have.
func id(kind string, n int) string { return fmt.Sprintf("cm%s%0*d", kind, 23-len(kind), n) }

// ref returns the id of another row, or nil for the row 0.
func ref(kind string, n int) *string {
	if n == 0 {
		return nil
	}
	s := id(kind, n)
	return &s
}

// stamp returns a time of the instance as JavaScript writes it.
func stamp(hours int) string {
	return began.Add(time.Duration(hours) * time.Hour).Format("2006-01-02T15:04:05.000Z")
}

// compact returns a value as JSON without escaping < > &.
func compact(value any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("the sample is no JSON: " + err.Error()) // a fault of this package
	}
	return bytes.TrimSpace(b.Bytes())
}

func list[T any](rows []T) []json.RawMessage {
	raw := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		raw[i] = compact(row)
	}
	return raw
}

// Export returns the instance's full export, for Options.Export.
func (i *Instance) Export() []byte {
	return compact(Export{
		Versions: json.RawMessage(`{"zipline":"4.6.3","node":"v24.21.0","export":"4"}`),
		Request: Request{
			User: id("user", 1) + ":nora", Date: stamp(2000),
			OS:  json.RawMessage(`{"platform":"linux","arch":"x64","cpus":2,"hostname":"demo","release":"6.1.0"}`),
			Env: json.RawMessage(`{"NODE_ENV":"production","DATABASE_URL":"postgresql://zipline:demo@db/zipline","CORE_SECRET":"a-secret-of-the-demo-that-works-nowhere","DATASOURCE_TYPE":"local","DATASOURCE_LOCAL_DIRECTORY":"./uploads"}`),
		},
		Data: i.data(),
	})
}

func (i *Instance) data() Data {
	none := []json.RawMessage{}
	files, thumbnails := i.fileRows()
	return Data{
		Settings: json.RawMessage(`{"id":"cmsettings000000000000001","createdAt":"2026-03-02T09:00:00.000Z","updatedAt":"2026-03-02T09:00:00.000Z","firstSetup":false,"filesRoute":"/u","filesLength":6,"urlsRoute":"/go","websiteTitle":"Harbour Files"}`),
		Users:    list(userRows()), UserPasskeys: none, UserOauthProviders: none,
		UserQuotas: []json.RawMessage{compact(map[string]any{
			"id": id("quota", 1), "createdAt": stamp(5), "filesQuota": "BY_BYTES", "maxBytes": "2gb",
			"maxFiles": nil, "maxUrls": 50, "userId": id("user", 3),
		})},
		UserTags: list(tagRows()), Invites: list(inviteRows()), Folders: list(i.folderRows()), URLs: list(urlRows()),
		Files: list(files), Thumbnails: list(thumbnails), Metrics: i.metricRows(),
	}
}
