package standin

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Database holds the tables of one instance, in memory. It is safe for concurrent use; one Server serves it.
type Database struct {
	mutex      sync.Mutex
	users      []*userRow
	passkeys   []*passkeyRow
	quotas     []*quotaRow
	oauth      []*oauthRow
	tags       []*tagRow
	invites    []*inviteRow
	folders    []*folderRow
	urls       []*urlRow
	files      []*fileRow
	thumbnails []*thumbnailRow
	metrics    []*metricRow
	settings   map[string]json.RawMessage
	order      []string // of the settings' keys
}

// defaults are the settings of a new Zipline 4.6.3.
//
//go:embed settings.json
var defaults []byte

// NewDatabase returns the database of an instance that has just been set up: one SUPERADMIN, whose token is given, and
// nothing else.
func NewDatabase(superAdmin, token string) *Database {
	d := &Database{}
	d.AddUser(superAdmin, "SUPERADMIN", token)
	own := fmt.Sprintf(`{"id":%q,"createdAt":%q,"updatedAt":%[2]q,"firstSetup":false}`, newID(), moment(time.Now()))
	if err := d.loadSettings(json.RawMessage(own)); err != nil {
		panic("settings of a new instance: " + err.Error()) // a fault of this package
	}
	if err := d.loadSettings(defaults); err != nil {
		panic("the default settings: " + err.Error()) // a fault of this package
	}
	return d
}

// LoadDatabase returns a database with the rows of an export, as a copy of the exported instance's database would have
// them: same ids, same dates. What an export doesn't hold is missing: users have no tokens (SetToken), no file is
// anonymous, there are no ownerless URLs and tags. Settings that it lacks are the default ones.
func LoadDatabase(export []byte) (*Database, error) {
	var e struct {
		Data struct {
			Settings           json.RawMessage `json:"settings"`
			Users              []*userRow      `json:"users"`
			UserPasskeys       []*passkeyRow   `json:"userPasskeys"`
			UserQuotas         []*quotaRow     `json:"userQuotas"`
			UserOauthProviders []*oauthRow     `json:"userOauthProviders"`
			UserTags           []*tagRow       `json:"userTags"`
			Invites            []*inviteRow    `json:"invites"`
			Folders            []*folderRow    `json:"folders"`
			URLs               []*urlRow       `json:"urls"`
			Files              []*fileRow      `json:"files"`
			Thumbnails         []*thumbnailRow `json:"thumbnails"`
			Metrics            []*metricRow    `json:"metrics"`
		} `json:"data"`
	}
	if err := json.Unmarshal(export, &e); err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	d := &Database{
		users: e.Data.Users, passkeys: e.Data.UserPasskeys, quotas: e.Data.UserQuotas, oauth: e.Data.UserOauthProviders,
		tags: e.Data.UserTags, invites: e.Data.Invites, folders: e.Data.Folders, urls: e.Data.URLs, files: e.Data.Files,
		thumbnails: e.Data.Thumbnails, metrics: e.Data.Metrics,
	}
	if err := d.loadSettings(e.Data.Settings); err != nil {
		return nil, fmt.Errorf("read the settings of the export: %w", err)
	}
	if err := d.loadSettings(defaults); err != nil {
		return nil, fmt.Errorf("read the default settings: %w", err)
	}
	d.date()
	return d, nil
}

// date sets when the rows of an export were changed last, which an export does not say.
func (d *Database) date() {
	for _, r := range d.users {
		r.updated = r.CreatedAt
	}
	for _, r := range d.passkeys {
		r.updated = r.CreatedAt
	}
	for _, r := range d.quotas {
		r.updated = r.CreatedAt
	}
	for _, r := range d.tags {
		r.updated = r.CreatedAt
	}
	for _, r := range d.invites {
		r.updated = r.CreatedAt
	}
	for _, r := range d.folders {
		r.updated = r.CreatedAt
	}
	for _, r := range d.urls {
		r.updated = r.CreatedAt
	}
	for _, r := range d.files {
		r.updated = r.CreatedAt
	}
}

// loadSettings adds settings, in the order in which they are written; those that are there stay as they are.
func (d *Database) loadSettings(object json.RawMessage) error {
	if d.settings == nil {
		d.settings = map[string]json.RawMessage{}
	}
	decoder := json.NewDecoder(strings.NewReader(string(object)))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("they are no object")
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if _, known := d.settings[name]; !known {
			d.order = append(d.order, name)
			d.settings[name] = compact(value)
		}
	}
	return nil
}

// AddUser adds a user and returns the id. A role is USER, ADMIN or SUPERADMIN.
func (d *Database) AddUser(name, role, token string) string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	now := moment(time.Now())
	u := &userRow{ID: newID(), CreatedAt: now, updated: now, Username: name, Role: role, View: json.RawMessage(`{}`), token: token}
	d.users = append(d.users, u)
	return u.ID
}

// SetToken gives a user a token; false where there is no such user.
func (d *Database) SetToken(username, token string) bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	u := find(d.users, func(u *userRow) bool { return u.Username == username })
	if u != nil {
		u.token = token
	}
	return u != nil
}

// AddOwnerlessURL adds a URL whose user was deleted: Zipline counts it and does not export it.
func (d *Database) AddOwnerlessURL(code, destination string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	now := moment(time.Now())
	d.urls = append(d.urls, &urlRow{ID: newID(), CreatedAt: now, updated: now, Code: code, Destination: destination, Enabled: true})
}

// newID returns an id such as Prisma's cuid: 25 characters that start with "cm".
func newID() string { return "cm" + strings.ToLower(rand.Text())[:23] }

// moment writes a time as JavaScript's toISOString does.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// dateLayouts are the forms of dates that an import takes; JavaScript's Date.parse takes more.
var dateLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", time.RFC1123, time.RFC1123Z, time.DateTime}

// parseDate reads a date.
func parseDate(text string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// date returns a date of an export as a table holds it.
func date(text string) string {
	t, _ := parseDate(text) // was validated
	return moment(t)
}

// dateOrNull is date for a column that may be empty.
func dateOrNull(text *string) *string {
	if text == nil || *text == "" {
		return nil
	}
	return new(date(*text))
}

// find returns the first row that fits, or nil.
func find[T any](rows []*T, fits func(*T) bool) *T {
	if i := slices.IndexFunc(rows, fits); i >= 0 {
		return rows[i]
	}
	return nil
}

// where returns the rows that fit.
func where[T any](rows []*T, fits func(*T) bool) []*T {
	all := []*T{}
	for _, r := range rows {
		if fits(r) {
			all = append(all, r)
		}
	}
	return all
}

// newest sorts rows by their dates, newest first.
func newest[T any](rows []*T, created func(*T) string) []*T {
	slices.SortStableFunc(rows, func(a, b *T) int { return cmp.Compare(created(b), created(a)) })
	return rows
}

// is reports whether a column that may be empty holds text.
func is(column *string, text string) bool { return column != nil && *column == text }

func (d *Database) user(id string) *userRow {
	return find(d.users, func(u *userRow) bool { return u.ID == id })
}

// owner returns the user of a row, or nil for an ownerless one.
func (d *Database) owner(id *string) *userRow {
	if id == nil {
		return nil
	}
	return d.user(*id)
}

func (d *Database) folder(id string) *folderRow {
	return find(d.folders, func(f *folderRow) bool { return f.ID == id })
}

func (d *Database) file(id string) *fileRow {
	return find(d.files, func(f *fileRow) bool { return f.ID == id })
}

func (d *Database) quota(user string) *quotaRow {
	return find(d.quotas, func(q *quotaRow) bool { return is(q.UserID, user) })
}
