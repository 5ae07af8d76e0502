package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Export is a server export of format 4, with its keys in Zipline's order. Rows stay as they are.
type Export struct {
	Versions json.RawMessage `json:"versions"`
	Request  Request         `json:"request"`
	Data     Data            `json:"data"`
}

// Request says who made an export, when and where.
type Request struct {
	User string          `json:"user"`
	Date string          `json:"date"`
	OS   json.RawMessage `json:"os"`
	Env  json.RawMessage `json:"env"`
}

// Data holds the rows of an export.
type Data struct {
	Settings           json.RawMessage   `json:"settings"`
	Users              []json.RawMessage `json:"users"`
	UserPasskeys       []json.RawMessage `json:"userPasskeys"`
	UserQuotas         []json.RawMessage `json:"userQuotas"`
	UserOauthProviders []json.RawMessage `json:"userOauthProviders"`
	UserTags           []json.RawMessage `json:"userTags"`
	Invites            []json.RawMessage `json:"invites"`
	Folders            []json.RawMessage `json:"folders"`
	URLs               []json.RawMessage `json:"urls"`
	Files              []json.RawMessage `json:"files"`
	Thumbnails         []json.RawMessage `json:"thumbnails"`
	Metrics            []json.RawMessage `json:"metrics"`
}

// Counts is what Zipline answers to counts=true.
type Counts struct {
	Users      int `json:"users"`
	Files      int `json:"files"`
	URLs       int `json:"urls"`
	Folders    int `json:"folders"`
	Invites    int `json:"invites"`
	Thumbnails int `json:"thumbnails"`
	Metrics    int `json:"metrics"`
}

// Counts counts as Zipline does: whole tables, and so ownerless URLs too.
func (e *Export) Counts(ownerlessURLs int) Counts {
	return Counts{
		Users: len(e.Data.Users), Files: len(e.Data.Files), URLs: len(e.Data.URLs) + ownerlessURLs,
		Folders: len(e.Data.Folders), Invites: len(e.Data.Invites), Thumbnails: len(e.Data.Thumbnails),
		Metrics: len(e.Data.Metrics),
	}
}

// exportRoute answers GET /api/server/export from the tables.
func exportRoute(c *call) (any, error) {
	parameters := c.r.URL.Query()
	if parameters.Get("counts") == "true" {
		return Counts{
			Users: len(c.d.users), Files: len(c.d.files), URLs: len(c.d.urls), Folders: len(c.d.folders),
			Invites: len(c.d.invites), Thumbnails: len(c.d.thumbnails), Metrics: len(c.d.metrics),
		}, nil
	}
	exporter := c.user.ID + ":" + c.user.Username
	c.w.Header().Set("Content-Disposition", c.s.fileName())
	if !soundExporter(exporter) { // the answer is held against the form of an import
		return nil, oddAnswer{}
	}
	e := c.d.export(exporter, c.s.options.Version)
	c.s.answerExport(c.w, e, parameters.Has("nometrics"))
	return sent, nil
}

// oddAnswer is what an export that doesn't fit its own form is answered with.
type oddAnswer struct{}

func (oddAnswer) Error() string { return "E1000: Response serialization error" }

func (o oddAnswer) answer(w http.ResponseWriter) {
	reply(w, http.StatusInternalServerError, struct {
		Error      string `json:"error"`
		StatusCode int    `json:"statusCode"`
		Code       int    `json:"code"`
		Details    string `json:"details"`
	}{o.Error(), 500, 1000, "Response doesn't match the schema"})
}

// answerExport writes an export with its date. A fault of Zipline: nometrics=false drops the metrics too.
func (s *Server) answerExport(w http.ResponseWriter, e Export, noMetrics bool) {
	if noMetrics {
		e.Data.Metrics = []json.RawMessage{}
	}
	e.Request.Date = moment(s.options.Now())
	w.Header().Set("Content-Disposition", s.fileName())
	reply(w, http.StatusOK, e)
}

// fileName is the header that names an export made now.
func (s *Server) fileName() string {
	return fmt.Sprintf("attachment; filename=zipline4_export_%d.json", s.options.Now().UnixMilli())
}

// Export returns what the instance exports, with metrics: a look at the tables for tests. The request is made up.
func (d *Database) Export() []byte {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return compact(d.export("nobody:nobody", V463))
}

// export returns the tables as an export. Things of users stand user by user; ownerless URLs and tags are left out.
func (d *Database) export(exporter string, version Version) Export {
	data := Data{
		Settings: d.settingsObject(true), Users: list(d.users), UserPasskeys: []json.RawMessage{},
		UserQuotas: []json.RawMessage{}, UserOauthProviders: []json.RawMessage{}, UserTags: []json.RawMessage{},
		Invites: []json.RawMessage{}, Folders: []json.RawMessage{}, URLs: []json.RawMessage{}, Files: list(d.files),
		Thumbnails: list(d.thumbnails), Metrics: list(d.metrics),
	}
	inside := map[string][]string{}
	for _, f := range d.files {
		if f.FolderID != nil {
			inside[*f.FolderID] = append(inside[*f.FolderID], f.ID)
		}
	}
	for _, f := range d.folders {
		f.Files = append([]string{}, inside[f.ID]...)
	}
	for _, u := range d.users {
		of := func(id *string) bool { return is(id, u.ID) }
		data.UserPasskeys = append(data.UserPasskeys, list(where(d.passkeys, func(p *passkeyRow) bool { return p.UserID == u.ID }))...)
		data.UserQuotas = append(data.UserQuotas, list(where(d.quotas, func(q *quotaRow) bool { return of(q.UserID) }))...)
		data.UserOauthProviders = append(data.UserOauthProviders, list(where(d.oauth, func(o *oauthRow) bool { return o.UserID == u.ID }))...)
		data.UserTags = append(data.UserTags, list(where(d.tags, func(t *tagRow) bool { return of(t.UserID) }))...)
		data.Invites = append(data.Invites, list(where(d.invites, func(i *inviteRow) bool { return i.InviterID == u.ID }))...)
		data.Folders = append(data.Folders, list(where(d.folders, func(f *folderRow) bool { return f.UserID == u.ID }))...)
		data.URLs = append(data.URLs, list(where(d.urls, func(l *urlRow) bool { return of(l.UserID) }))...)
	}
	return Export{
		Versions: compact(map[string]string{"zipline": string(version), "node": "v24.21.0", "export": "4"}),
		Request: Request{
			User: exporter,
			OS:   json.RawMessage(`{"platform":"linux","arch":"x64","cpus":2,"hostname":"zipline","release":"6.1.0"}`),
			Env:  json.RawMessage(`{"NODE_ENV":"production","DATABASE_URL":"postgresql://zipline:stand-in@db/zipline","CORE_SECRET":"a-secret-of-the-stand-in-that-works-nowhere","DATASOURCE_TYPE":"local","DATASOURCE_LOCAL_DIRECTORY":"./uploads"}`),
		},
		Data: data,
	}
}
