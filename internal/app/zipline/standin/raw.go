package standin

import (
	"net/http"
	"os"
	"strings"
	"time"
)

// raw answers GET /raw/<name>: anybody may have it, and it counts a view.
func (s *Server) raw(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	f, err := s.look(name)
	if err != nil {
		answerError(w, err)
		return
	}
	if f == nil && !strings.HasPrefix(name, ".thumbnail.") {
		s.page(w, r)
		return
	}
	var object *os.File
	err = s.inDatasource(func(root *os.Root) error {
		object, err = root.Open(name)
		return err
	})
	if err != nil || object == nil {
		s.page(w, r)
		return
	}
	defer object.Close()
	if f != nil {
		contentHeaders(w, f)
	}
	http.ServeContent(w, r, name, time.Time{}, object)
}

func contentHeaders(w http.ResponseWriter, f *fileRow) {
	kind := f.Type
	if strings.HasPrefix(kind, "text/") {
		kind += "; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	if f.OriginalName != nil {
		w.Header().Set("Content-Disposition", "filename*=utf-8''"+escaped(*f.OriginalName))
	}
}

// look returns a copy of the row of a stored name, and counts a view; nil where there is none, or where it was due and
// is gone now.
func (s *Server) look(name string) (*fileRow, error) {
	c := &call{s: s, d: s.database, now: moment(s.options.Now())}
	c.d.mutex.Lock()
	defer c.d.mutex.Unlock()
	f := find(c.d.files, func(f *fileRow) bool { return f.Name == name })
	switch {
	case f == nil:
		return nil, nil
	case f.DeletesAt != nil && *f.DeletesAt <= c.now, f.MaxViews != nil && f.Views >= *f.MaxViews:
		c.deleteFiles(true, f)
		return nil, nil
	case f.Password != nil:
		return nil, fail(3018, "Invalid access token provided.")
	}
	if _, err := s.options.Version.sanitize(name); err != nil && s.options.Version == V463 {
		return nil, err
	}
	f.Views++
	return new(*f), nil
}

// rawByID answers GET /api/user/files/{id}/raw: it counts no view, but deletes a file that is due.
func rawByID(c *call) (any, error) {
	f := c.d.file(c.r.PathValue("id"))
	if f == nil || f.UserID == nil || !mayTouch(c.user, c.d.owner(f.UserID)) {
		return nil, notFound
	}
	if f.DeletesAt != nil && *f.DeletesAt <= c.now || f.MaxViews != nil && f.Views >= *f.MaxViews {
		c.deleteFiles(true, f)
		return nil, notFound
	}
	if f.Password != nil {
		return nil, fail(3018, "Invalid access token provided.")
	}
	err := c.s.inDatasource(func(root *os.Root) error {
		object, err := root.Open(f.Name)
		if err != nil {
			return err
		}
		defer object.Close()
		contentHeaders(c.w, f)
		http.ServeContent(c.w, c.r, f.Name, time.Time{}, object)
		return nil
	})
	if err != nil || c.s.options.Datasource == "" {
		return nil, notFound
	}
	return sent, nil
}
