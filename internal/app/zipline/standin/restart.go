package standin

import (
	"os"
	"slices"
	"strings"
)

// Restart does what a Zipline does soon after its start. What is due vanishes: files past their date or with all their
// views used up, with their bytes; URLs and invites used up or expired. Thumbnails without a row are deleted from the
// datasource, rows of thumbnails without an object from the database.
func (s *Server) Restart() error {
	c := &call{s: s, d: s.database, now: moment(s.options.Now())}
	c.d.mutex.Lock()
	defer c.d.mutex.Unlock()
	views := string(c.d.settings["featuresDeleteOnMaxViews"]) != "false"
	over := func(at *string) bool { return at != nil && *at <= c.now }
	used := func(n number, most *number) bool { return views && most != nil && n >= *most }
	c.deleteFiles(true, where(c.d.files, func(f *fileRow) bool { return over(f.DeletesAt) || used(f.Views, f.MaxViews) })...)
	c.d.urls = slices.DeleteFunc(c.d.urls, func(u *urlRow) bool { return used(u.Views, u.MaxViews) })
	c.d.invites = slices.DeleteFunc(c.d.invites, func(i *inviteRow) bool {
		return over(i.ExpiresAt) || i.MaxUses != nil && i.Uses >= *i.MaxUses
	})
	return s.inDatasource(c.d.cleanThumbnails)
}

func (d *Database) cleanThumbnails(root *os.Root) error {
	folder, err := root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		there[name] = true
		row := find(d.thumbnails, func(t *thumbnailRow) bool { return t.Path == name })
		if strings.HasPrefix(name, ".thumbnail.") && row == nil {
			if err := root.Remove(name); err != nil {
				return err
			}
		}
	}
	d.thumbnails = slices.DeleteFunc(d.thumbnails, func(t *thumbnailRow) bool { return !there[t.Path] })
	return nil
}
