package zipline

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// folderServer is the folder and upload API of one Zipline, with faults.
type folderServer struct {
	decodes bool          // names of files are percent-decoded, as up to 4.6.3
	noNever bool          // "never" is no date of deletion
	quick   bool          // no rate limits
	clock   time.Duration // moves with each request

	mutex    sync.Mutex
	folders  []*folderRow
	files    []*heldFile
	requests int
	uploads  int
	// failAt breaks one request, before or after its effect.
	failAt int
	after  bool
	limits map[string]time.Duration // when a rate limit ends
	waits  int                      // answers with 429
	public string
	quota  string
	stored string // what the user has
}

type heldFile struct {
	fileOnTarget
	folder string
	bytes  string
}

const folderOwner = "owner"

func newFolderServer() *folderServer {
	return &folderServer{
		limits: map[string]time.Duration{}, public: "250mb", quota: "null", stored: `{"filesUploaded":0,"storageUsed":0}`,
		folders: []*folderRow{{ID: "home", Name: "Home", UserID: folderOwner, Created: "2026-01-01T00:00:00.000Z"}, {ID: "foreign", Name: "Foreign", UserID: "other", Created: "2026-01-01T00:00:00.000Z"}},
	}
}

func (s *folderServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.clock += 10 * time.Millisecond
	s.requests++
	broken := s.requests == s.failAt
	if broken && !s.after {
		panic(http.ErrAbortHandler)
	}
	status, answer := s.answer(r)
	if broken {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if status == 429 {
		s.waits++
		w.Header().Set("Retry-After", "2")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func fault(status, code int, text string) (int, any) {
	return status, map[string]any{"error": fmt.Sprintf("E%d: %s", code, text), "code": code, "statusCode": status}
}

func (s *folderServer) answer(r *http.Request) (int, any) {
	if r.Header.Get("Authorization") != "token" {
		return fault(401, 2001, "Invalid token")
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/")
	_, id, _ := strings.Cut(strings.TrimPrefix(path, "user/"), "/")
	switch what := r.Method + " " + path; {
	case what == "GET user":
		return 200, map[string]any{"user": map[string]any{"id": folderOwner, "username": "ann", "role": "USER", "quota": json.RawMessage(s.quota)}}
	case what == "GET user/stats":
		return 200, json.RawMessage(s.stored)
	case what == "GET server/public":
		return 200, map[string]any{"files": map[string]any{"maxFileSize": s.public}}
	case what == "GET user/folders":
		var mine []*folderRow
		for _, f := range slices.Backward(s.folders) {
			if f.UserID == folderOwner {
				mine = append(mine, f)
			}
		}
		return 200, mine
	case what == "POST user/folders":
		return s.makeFolder(r)
	case strings.HasPrefix(what, "GET user/folders/"):
		return s.showFolder(id)
	case strings.HasPrefix(what, "PATCH user/folders/"):
		return s.patchFolder(id, r)
	case what == "POST upload":
		return s.upload(r)
	case strings.HasPrefix(what, "PATCH user/files/"):
		return s.patchFile(id, r)
	}
	return fault(404, 9002, "Not found")
}

// limited keeps a rate limit: one in so much time of the server's clock.
func (s *folderServer) limited(what string, every time.Duration) bool {
	if s.quick {
		return false
	}
	if s.clock < s.limits[what] {
		return true
	}
	s.limits[what] = s.clock + every
	return false
}

func (s *folderServer) folder(id string) *folderRow {
	for _, f := range s.folders {
		if f.ID == id {
			return f
		}
	}
	return nil
}

func (s *folderServer) stamp() string {
	return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Add(time.Duration(s.requests) * time.Second).Format("2006-01-02T15:04:05.000Z")
}

func (s *folderServer) makeFolder(r *http.Request) (int, any) {
	if s.limited("folders", 2*time.Second) {
		return 429, map[string]any{"error": "Rate limit exceeded, retry in 2 seconds", "statusCode": 429}
	}
	var asked struct {
		Name     string
		IsPublic bool
		ParentID *string
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || strings.TrimSpace(asked.Name) == "" {
		return fault(400, 1000, "body/name Too small")
	}
	if asked.ParentID != nil {
		switch parent := s.folder(*asked.ParentID); {
		case parent == nil:
			return fault(404, 4007, "Parent folder not found")
		case parent.UserID != folderOwner:
			return fault(403, 3003, "Parent folder does not belong to you")
		}
	}
	f := &folderRow{ID: fmt.Sprint("new", len(s.folders)), Name: strings.TrimSpace(asked.Name), Public: asked.IsPublic, Parent: asked.ParentID, UserID: folderOwner, Created: s.stamp()}
	s.folders = append(s.folders, f)
	return 200, f
}

func (s *folderServer) showFolder(id string) (int, any) {
	f := s.folder(id)
	if f == nil {
		return fault(404, 4001, "Folder not found")
	}
	all := []fileOnTarget{}
	for _, file := range s.files {
		if file.folder == id {
			all = append(all, file.fileOnTarget)
		}
	}
	return 200, struct {
		*folderRow
		Files []fileOnTarget `json:"files"`
	}{f, all}
}

func (s *folderServer) patchFolder(id string, r *http.Request) (int, any) {
	var asked struct{ IsPublic, AllowUploads *bool }
	f := s.folder(id)
	if f == nil || json.NewDecoder(r.Body).Decode(&asked) != nil {
		return fault(404, 4001, "Folder not found")
	}
	if asked.IsPublic != nil {
		f.Public = *asked.IsPublic
	}
	if asked.AllowUploads != nil {
		f.Uploads = *asked.AllowUploads
	}
	return 200, f
}

// named is what Zipline makes of a file's name; false where it refuses it, or fails over it.
func (s *folderServer) named(name string) (string, bool) {
	if s.decodes {
		decoded, err := url.PathUnescape(name)
		if err != nil {
			return "", false
		}
		name = decoded
	}
	return name, name != "" && name != "." && name != ".." && !strings.ContainsAny(name, `/\`)
}

func (s *folderServer) upload(r *http.Request) (int, any) {
	folder := s.folder(r.Header.Get("x-zipline-folder"))
	if folder == nil || folder.UserID != folderOwner {
		return fault(404, 4001, "Folder not found")
	}
	expiry := r.Header.Get("x-zipline-deletes-at")
	if expiry == "never" && s.noNever {
		return fault(400, 1010, "Invalid expiry date")
	}
	reader, err := r.MultipartReader()
	if err != nil {
		return fault(400, 1061, "no form")
	}
	part, err := reader.NextPart()
	if err != nil {
		return fault(400, 1062, "no file")
	}
	content, err := io.ReadAll(part)
	if err != nil {
		return fault(400, 1061, "broken form")
	}
	if s.limited("upload", time.Second) {
		return 429, map[string]any{"error": "Rate limit exceeded, retry in 1 second", "statusCode": 429}
	}
	name, ok := s.named(part.FileName())
	if !ok || r.Header.Get("x-zipline-original-name") != "true" || r.Header.Get("x-zipline-format") != "random" {
		return fault(400, 1008, "Invalid characters in original filename")
	}
	if strings.HasSuffix(name, ".exe") {
		return fault(400, 1006, "file[0]: File extension .exe is not allowed")
	}
	s.uploads++
	f := &heldFile{folder: folder.ID, bytes: string(content), fileOnTarget: fileOnTarget{
		ID: fmt.Sprint("file", len(s.files)), Name: fmt.Sprint("rnd", len(s.files)), Original: &name, Size: int64(len(content)), Type: part.Header.Get("Content-Type"), Created: s.stamp(),
	}}
	if date, ok := strings.CutPrefix(expiry, "date="); ok {
		f.DeletesAt = &date
	}
	if most := r.Header.Get("x-zipline-max-views"); most != "" {
		var n int64
		_, _ = fmt.Sscan(most, &n)
		f.MaxViews = &n
	}
	s.files = append(s.files, f)
	return 200, map[string]any{"files": []map[string]any{{"id": f.ID, "name": f.Name, "type": f.Type, "url": "http://x/u/" + f.Name}}}
}

func (s *folderServer) patchFile(id string, r *http.Request) (int, any) {
	var asked struct {
		OriginalName, Type *string
		Favorite           *bool
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return fault(400, 1000, "body")
	}
	for _, f := range s.files {
		if f.ID != id {
			continue
		}
		if asked.OriginalName != nil {
			name, ok := s.named(strings.TrimSpace(*asked.OriginalName))
			if !ok {
				return fault(500, 9000, "Internal Server Error")
			}
			f.Original = &name
		}
		if asked.Favorite != nil {
			f.Favorite = *asked.Favorite
		}
		if asked.Type != nil {
			f.Type = *asked.Type
		}
		return 200, f.fileOnTarget
	}
	return fault(404, 4000, "File not found")
}

// tree returns what lies below a folder: paths with flags, sizes and bytes, sorted.
func (s *folderServer) tree(t *testing.T, root string) []string {
	t.Helper()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all []string
	var walk func(id, path string)
	walk = func(id, path string) {
		for _, f := range s.folders {
			if valueOf(f.Parent) == id && f.UserID == folderOwner && (id != "" || f.ID != "home") {
				at := path + f.Name + "|"
				all = append(all, fmt.Sprintf("%s public=%t uploads=%t", at, f.Public, f.Uploads))
				walk(f.ID, at)
			}
		}
		for _, f := range s.files {
			if f.folder == id && id != "" {
				line := fmt.Sprintf("%s%s = %s %s", path, valueOf(f.Original), f.bytes, f.Type)
				if f.Favorite {
					line += " favorite"
				}
				if f.MaxViews != nil {
					line += fmt.Sprint(" max=", *f.MaxViews)
				}
				if f.DeletesAt != nil {
					line += " until " + *f.DeletesAt
				}
				all = append(all, line)
			}
		}
	}
	walk(root, "")
	slices.Sort(all)
	return all
}
