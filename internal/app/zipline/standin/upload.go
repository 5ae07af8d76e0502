package standin

import (
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// uploaded is one file of an upload, whose bytes wait in the datasource under a passing name.
type uploaded struct {
	passing, original, kind string
	size                    int64
}

// uploadAnswer is what an upload answers.
type uploadAnswer struct {
	Files     []uploadedView `json:"files"`
	DeletesAt string         `json:"deletesAt,omitempty"`
}

type uploadedView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

// upload answers POST /api/upload. Without a token it takes files into a folder that is open to uploads.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, d: s.database, w: w, r: r, fault: faultOf(r), now: moment(s.options.Now())}
	if err := c.mayUpload(); err != nil {
		answerError(w, err)
		return
	}
	files, err := c.receive()
	if err == nil {
		var answer any
		if answer, err = c.keep(files); err == nil {
			c.answerUpload(answer.(uploadAnswer))
			return
		}
	}
	for _, f := range files {
		s.deleteObject(f.passing)
	}
	answerError(w, err)
}

// mayUpload looks at the token, the rate and the folder, before the bytes come.
func (c *call) mayUpload() error {
	c.d.mutex.Lock()
	defer c.d.mutex.Unlock()
	header := c.r.Header
	if header.Get("Authorization") != "" || header.Get("X-Zipline-Folder") == "" {
		if err := c.authorize(user); err != nil {
			return err
		}
		if err := c.limitUser(); err != nil {
			return err
		}
	}
	if header.Get("Content-Range") != "" {
		return fail(1001, "bad options, receieved: partial upload")
	}
	if c.s.options.Datasource == "" {
		return exception{"there is no datasource"}
	}
	_, err := c.uploadFolder()
	return err
}

// uploadFolder returns the folder that an upload goes to, or nil.
func (c *call) uploadFolder() (*folderRow, error) {
	id := c.r.Header.Get("X-Zipline-Folder")
	if id == "" {
		return nil, nil
	}
	f := c.d.folder(id)
	switch {
	case f == nil:
		return nil, noSuchFolder
	case c.user == nil && !f.AllowUploads:
		return nil, fail(3002, "Folder is not open")
	case c.user != nil && f.UserID != c.user.ID && !f.AllowUploads:
		return nil, folderNotYours
	}
	return f, nil
}

// receive writes the files of a form into the datasource under passing names.
func (c *call) receive() (files []uploaded, err error) {
	form, err := c.r.MultipartReader()
	if err != nil {
		return nil, fail(1061, "Invalid multipart/form-data request")
	}
	most := bytesOf(c.d.lockedSetting("filesMaxFileSize"))
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return files, fail(1061, "Invalid multipart/form-data request")
		}
		if part.FileName() == "" {
			continue
		}
		f, err := c.receiveOne(part)
		if f.passing != "" {
			files = append(files, f)
		}
		if err != nil {
			return files, err
		}
		if float64(f.size) > most {
			return files, fail(5001, fmt.Sprintf("file[%d]: File size is too large. Maximum file size is %.0f bytes", len(files)-1, most))
		}
	}
	if len(files) == 0 {
		return nil, fail(1062, "No files in multipart/form-data request")
	}
	return files, nil
}

func (c *call) receiveOne(part *multipart.Part) (uploaded, error) {
	f := uploaded{original: part.FileName(), kind: part.Header.Get("Content-Type")}
	if f.kind == "" {
		f.kind = "application/octet-stream"
	}
	f.passing = ".upload-" + newID()
	err := c.s.inDatasource(func(root *os.Root) error {
		to, err := root.Create(f.passing)
		if err != nil {
			return err
		}
		f.size, err = io.Copy(to, part)
		return errors.Join(err, to.Close())
	})
	if err != nil {
		return f, fail(1061, "Invalid multipart/form-data request")
	}
	return f, nil
}

func (d *Database) lockedSetting(name string) string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.setting(name)
}

// keep makes the rows of files that have come, and gives the objects their names.
func (c *call) keep(files []uploaded) (any, error) {
	c.d.mutex.Lock()
	defer c.d.mutex.Unlock()
	folder, err := c.uploadFolder()
	if err != nil {
		return nil, err
	}
	owner := c.user
	if owner == nil {
		owner = c.d.user(folder.UserID)
	}
	if err := c.fitsQuota(owner, files); err != nil {
		return nil, err
	}
	rows := []*fileRow{}
	for i, f := range files {
		row, err := c.rowOf(f, i)
		if err != nil {
			return nil, err
		}
		row.UserID, row.anonymous = &owner.ID, c.user == nil
		if folder != nil {
			row.FolderID = &folder.ID
		}
		rows = append(rows, row)
	}
	answer := uploadAnswer{Files: []uploadedView{}}
	for i, row := range rows {
		if err := c.s.inDatasource(func(root *os.Root) error { return root.Rename(files[i].passing, row.Name) }); err != nil {
			return nil, exception{err.Error()}
		}
		c.d.files = append(c.d.files, row)
		address := "http://" + c.r.Host + c.d.setting("filesRoute") + "/" + escaped(row.Name)
		answer.Files = append(answer.Files, uploadedView{row.ID, row.Name, row.Type, address})
		answer.DeletesAt = value(row.DeletesAt)
	}
	return answer, nil
}

// fitsQuota looks at the quota of the one who will own the files.
func (c *call) fitsQuota(owner *userRow, files []uploaded) error {
	q := c.d.quota(owner.ID)
	if q == nil {
		return nil
	}
	var bytes float64
	own := where(c.d.files, func(f *fileRow) bool { return is(f.UserID, owner.ID) })
	for _, f := range own {
		bytes += float64(f.Size)
	}
	for _, f := range files {
		bytes += float64(f.size)
	}
	full := q.FilesQuota == "BY_BYTES" && q.MaxBytes != nil && bytes > bytesOf(*q.MaxBytes) ||
		q.FilesQuota == "BY_FILES" && q.MaxFiles != nil && number(len(own)+len(files)) > *q.MaxFiles
	if full {
		return fail(5002, "Storage quota exceeded")
	}
	return nil
}

// rowOf returns the row of one file, as the headers want it.
func (c *call) rowOf(f uploaded, i int) (*fileRow, error) {
	header := c.r.Header
	stored, err := c.uploadName(f.original, i)
	if err != nil {
		return nil, err
	}
	row := &fileRow{
		base: base{newID(), c.now, c.now}, Name: stored, Size: number(f.size), Type: f.kind,
		Password: hashed(header.Get("X-Zipline-Password")),
	}
	if header.Get("X-Zipline-Original-Name") == "true" {
		original, err := c.s.options.Version.sanitize(f.original)
		if err != nil || original == "" {
			return nil, fail(1008, fmt.Sprintf("file[%d]: Invalid characters in original filename", i))
		}
		row.OriginalName = &original
	}
	if text := header.Get("X-Zipline-Max-Views"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || n < 0 {
			return nil, fail(1001, "bad options: Invalid max views (NaN)")
		}
		row.MaxViews = new(number(n))
	}
	if text := header.Get("X-Zipline-Deletes-At"); text != "" && text != "never" {
		at, ok := c.s.expiry(text)
		if !ok {
			return nil, fail(1001, "bad options: Invalid expiry date")
		}
		row.DeletesAt = &at
	}
	return row, nil
}

// doubleExtensions are those that Zipline keeps together.
var doubleExtensions = []string{
	".tar.gz", ".tar.xz", ".tar.bz2", ".tar.lz", ".tar.lzma", ".tar.Z", ".tar.7z", ".zip.gz", ".zip.xz", ".rar.gz", ".log.gz", ".csv.gz", ".pdf.gz",
}

func extension(name string) string {
	for _, double := range doubleExtensions {
		if strings.HasSuffix(name, double) {
			return double
		}
	}
	return path.Ext(strings.TrimLeft(name, "."))
}

// uploadName returns the stored name: the one that the headers want, with the extension of the file, or six random
// characters.
func (c *call) uploadName(original string, i int) (string, error) {
	header := c.r.Header
	end := extension(original)
	if wanted := header.Get("X-Zipline-File-Extension"); wanted != "" {
		end = "." + strings.TrimPrefix(wanted, ".")
	}
	base := newID()[2:8]
	switch wanted := header.Get("X-Zipline-Filename"); {
	case wanted != "":
		clean, err := c.s.options.Version.sanitize(wanted)
		if err != nil || clean == "" {
			return "", fail(1007, fmt.Sprintf("file[%d]: Invalid characters in filename override", i))
		}
		base = clean
	case header.Get("X-Zipline-Format") == "name" || header.Get("X-Zipline-Format") == "" && c.d.setting("filesDefaultFormat") == "name":
		base = strings.TrimSuffix(original, path.Ext(original))
	}
	if find(c.d.files, func(f *fileRow) bool { return f.Name == base+end }) != nil {
		return "", fail(1014, fmt.Sprintf("file[%d]: A file with the name %q already exists", i, base+end))
	}
	return base + end, nil
}

func (c *call) answerUpload(answer uploadAnswer) {
	if c.r.Header.Get("X-Zipline-No-Json") != "true" {
		reply(c.w, http.StatusOK, answer)
		return
	}
	addresses := make([]string, len(answer.Files))
	for i, f := range answer.Files {
		addresses[i] = f.URL
	}
	c.w.Header().Set("Content-Type", "text/plain")
	c.w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(c.w, strings.Join(addresses, ",")) // the client is gone: nobody to tell
}
