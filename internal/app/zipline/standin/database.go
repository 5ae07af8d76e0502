package standin

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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
			imports
			Settings   json.RawMessage `json:"settings"`
			Thumbnails []*thumbnailRow `json:"thumbnails"`
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
	untouched(d.users)
	untouched(d.passkeys)
	untouched(d.quotas)
	untouched(d.tags)
	untouched(d.invites)
	untouched(d.folders)
	untouched(d.urls)
	untouched(d.files)
	return d, nil
}

// untouched sets when the rows of an export were changed last, which an export does not say.
func untouched[R row](rows []R) {
	for _, r := range rows {
		r.common().updated = r.common().CreatedAt
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
	u := &userRow{base: base{newID(), now, now}, Username: name, Role: role, View: json.RawMessage(`{}`), token: token}
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
	d.urls = append(d.urls, &urlRow{base: base{newID(), now, now}, Code: code, Destination: destination, Enabled: true})
}

// newID returns an id such as Prisma's cuid: 25 characters that start with "cm".
func newID() string { return "cm" + strings.ToLower(rand.Text())[:23] }

// moment writes a time as JavaScript's toISOString does.
func moment(t time.Time) string {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return fmt.Sprintf("%+07d", year) + t.Format("-01-02T15:04:05.000Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// dateLayouts are the forms of dates that an import takes; JavaScript's Date.parse takes more.
var dateLayouts = []string{
	"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01", time.RFC1123, time.RFC1123Z, time.DateTime,
	"2006/01/02", "1/2/2006", "1/2/2006, 3:04:05 PM", "Jan 2, 2006", "2 Jan 2006", "Mon Jan 02 2006", "Mon Jan 02 2006 15:04:05 GMT-0700",
}

// isoDate is a date of ISO 8601 with a zone, of any year.
var isoDate = regexp.MustCompile(`^(\d{4}|[+-]\d{6})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

// commaFraction is what Go takes for a part of a second, and JavaScript does not.
var commaFraction = regexp.MustCompile(`:\d\d,\d`)

// parseDate reads a date.
func parseDate(text string) (time.Time, bool) {
	if parts := isoDate.FindStringSubmatch(text); parts != nil {
		return composed(parts)
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil && !commaFraction.MatchString(text) {
			return t, true
		}
	}
	return time.Time{}, false
}

// composed makes a date of the parts of isoDate: each month has 31 days, the last of which may be of the next month,
// and 24:00 is the next day.
func composed(parts []string) (time.Time, bool) {
	var n [7]int
	for i := 1; i < len(n); i++ {
		n[i], _ = strconv.Atoi(parts[i]) // digits
	}
	year, month, day, hour, minute, second := n[1], n[2], n[3], n[4], n[5], n[6]
	milli, _ := strconv.Atoi((strings.TrimPrefix(parts[7], ".") + "000")[:3])
	clock, err := time.Parse("15:04:05Z07:00", fmt.Sprintf("%02d:%02d:%02d%s", hour%24, minute, second, parts[8]))
	if err != nil || parts[1] == "-000000" || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 24 || hour == 24 && (minute > 0 || second > 0 || milli > 0) {
		return time.Time{}, false
	}
	_, offset := clock.Zone()
	t := time.Date(year, time.Month(month), day, hour, minute, second-offset, milli*int(time.Millisecond), time.UTC)
	return t, max(t.UnixMilli(), -t.UnixMilli()) <= 8.64e15
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
func newest[R row](rows []R) []R {
	slices.SortStableFunc(rows, func(a, b R) int { return cmp.Compare(b.common().CreatedAt, a.common().CreatedAt) })
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
