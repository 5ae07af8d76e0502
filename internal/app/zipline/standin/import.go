package standin

import (
	"encoding/json"
	"math"
	"strings"
)

// importPath is where imports go.
const importPath = "/api/server/import/v4"

// imports are the rows of an export that an import brings in.
type imports struct {
	Users              []*userRow    `json:"users"`
	UserPasskeys       []*passkeyRow `json:"userPasskeys"`
	UserQuotas         []*quotaRow   `json:"userQuotas"`
	UserOauthProviders []*oauthRow   `json:"userOauthProviders"`
	UserTags           []*tagRow     `json:"userTags"`
	Invites            []*inviteRow  `json:"invites"`
	Folders            []*folderRow  `json:"folders"`
	URLs               []*urlRow     `json:"urls"`
	Files              []*fileRow    `json:"files"`
	Metrics            []*metricRow  `json:"metrics"`
}

// importRequest is the body of an import, after its check.
type importRequest struct {
	Export4 struct {
		Data imports `json:"data"`
	} `json:"export4"`
	Config struct {
		MergeCurrentUser string `json:"mergeCurrentUser"`
	} `json:"config"`
}

// imported are the numbers that an import answers.
type imported struct {
	Users          int `json:"users"`
	OauthProviders int `json:"oauthProviders"`
	Quotas         int `json:"quotas"`
	Passkeys       int `json:"passkeys"`
	Folders        int `json:"folders"`
	Files          int `json:"files"`
	Tags           int `json:"tags"`
	URLs           int `json:"urls"`
	Invites        int `json:"invites"`
	Metrics        int `json:"metrics"`
}

// importing is one import: what the ids of the export have become. It is forgotten at the end, so that a later import
// knows nothing of an earlier one.
type importing struct {
	*call
	importRequest
	users, folders, files map[string]string
	others                map[string]map[string]bool // by table: the ids of the export that came in
	rows                  int                        // made so far
}

// importV4 follows the real import table by table. Nothing is undone when it breaks off: each row was a statement of its own.
func importV4(c *call) (any, error) {
	m := &importing{
		call: c, users: map[string]string{}, folders: map[string]string{}, files: map[string]string{},
		others: map[string]map[string]bool{},
	}
	if err := json.Unmarshal(c.raw, &m.importRequest); err != nil {
		return nil, exception{err.Error()} // a number beyond all columns
	}
	for _, table := range []func() error{
		m.importUsers, m.importOauth, m.importQuotas, m.importPasskeys, m.importFolders, m.importParents, m.importFiles,
		m.importTags, m.importURLs, m.importInvites, m.importMetrics,
	} {
		if err := table(); err != nil {
			return nil, err
		}
	}
	return map[string]imported{"imported": {
		Users: len(m.users), OauthProviders: len(m.others["oauth"]), Quotas: len(m.others["quotas"]),
		Passkeys: len(m.others["passkeys"]), Folders: len(m.folders), Files: len(m.files), Tags: len(m.others["tags"]),
		URLs: len(m.others["urls"]), Invites: len(m.others["invites"]), Metrics: len(m.Export4.Data.Metrics),
	}}, nil
}

// made notes a row that the import has made.
func (m *importing) made(table, id string) {
	if m.others[table] == nil {
		m.others[table] = map[string]bool{}
	}
	m.others[table][id] = true
	m.rows++
}

// before breaks off ahead of a row where the fault wants it: Rows of them are in.
func (m *importing) before() error {
	switch {
	case m.fault.Cut != CutInside || m.rows < m.fault.Rows:
		return nil
	case m.fault.Status != 0:
		return exception{"it stumbles over this row"}
	}
	return errCut
}

// storable returns an exception for texts that the database refuses.
func storable(texts ...string) error {
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return exception{"invalid byte sequence for encoding UTF8: 0x00"}
		}
	}
	return nil
}

// integers returns an exception for numbers that a column of 32 bits refuses.
func integers(numbers ...*number) error {
	for _, n := range numbers {
		if n != nil && !n.whole(math.MaxInt32) {
			return exception{"a number doesn't fit its column"}
		}
	}
	return nil
}

func (m *importing) importUsers() error {
	for _, u := range m.Export4.Data.Users {
		if err := m.before(); err != nil {
			return err
		}
		if m.Config.MergeCurrentUser != "" && u.ID == m.Config.MergeCurrentUser {
			m.user.Avatar, m.user.TOTPSecret, m.user.View, m.user.updated = u.Avatar, u.TOTPSecret, compact(u.View), m.now
			m.users[u.ID] = m.user.ID
			m.rows++
			continue
		}
		if find(m.d.users, func(o *userRow) bool { return o.Username == u.Username || o.ID == u.ID }) != nil {
			continue // with everything that is the user's
		}
		if err := storable(u.Username); err != nil {
			return err
		}
		n := *u
		n.ID, n.CreatedAt, n.View, n.updated, n.token = newID(), date(u.CreatedAt), compact(u.View), m.now, newID()
		m.d.users = append(m.d.users, &n)
		m.users[u.ID] = n.ID
		m.rows++
	}
	return nil
}

func (m *importing) importOauth() error {
	for _, o := range m.Export4.Data.UserOauthProviders {
		userID, known := m.users[o.UserID]
		if !known || find(m.d.oauth, func(e *oauthRow) bool { return e.Provider == o.Provider && sameOauth(e, o) }) != nil {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		n := *o
		n.ID, n.CreatedAt, n.UserID = newID(), m.now, userID
		m.d.oauth = append(m.d.oauth, &n)
		m.made("oauth", o.ID)
	}
	return nil
}

// sameOauth compares as the import looks: an id that is missing fits every row, null only an empty column.
func sameOauth(existing, o *oauthRow) bool {
	switch {
	case !o.OauthID.given:
		return true
	case o.OauthID.text == nil:
		return existing.OauthID.text == nil
	}
	return is(existing.OauthID.text, *o.OauthID.text)
}

func (m *importing) importQuotas() error {
	for _, q := range m.Export4.Data.UserQuotas {
		userID, known := m.users[value(q.UserID)]
		if !known || m.d.quota(userID) != nil {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := integers(q.MaxFiles, q.MaxURLs); err != nil {
			return err
		}
		n := *q
		n.ID, n.CreatedAt, n.updated, n.UserID = newID(), date(q.CreatedAt), m.now, &userID
		m.d.quotas = append(m.d.quotas, &n)
		m.made("quotas", q.ID)
	}
	return nil
}

func (m *importing) importPasskeys() error {
	for _, p := range m.Export4.Data.UserPasskeys {
		userID, known := m.users[p.UserID]
		if !known || find(m.d.passkeys, func(e *passkeyRow) bool { return e.Name == p.Name && e.UserID == userID }) != nil {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		m.d.passkeys = append(m.d.passkeys, &passkeyRow{
			base: base{newID(), m.now, m.now}, Name: p.Name, Reg: compact(p.Reg), UserID: userID,
		})
		m.made("passkeys", p.ID)
	}
	return nil
}

func (m *importing) importTags() error {
	for _, t := range m.Export4.Data.UserTags {
		userID, known := m.users[value(t.UserID)]
		if m.tagExists(t, userID, known) || !known {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		files, err := m.tagged(t.Files)
		if err != nil {
			return err
		}
		if find(m.d.tags, func(e *tagRow) bool { return e.Name == t.Name }) != nil {
			return exception{"unique constraint failed: name"}
		}
		color := t.Color
		if color == nil {
			color = new("#000000")
		}
		m.d.tags = append(m.d.tags, &tagRow{
			base: base{newID(), m.now, m.now}, Name: t.Name, Color: color, Files: files, UserID: &userID,
		})
		m.made("tags", t.ID)
	}
	return nil
}

// tagged returns what a tag's files have become. One that did not come in is an exception; newer versions leave it out.
func (m *importing) tagged(ids []string) ([]string, error) {
	files, seen := []string{}, map[string]bool{}
	for _, id := range ids {
		file, came := m.files[id]
		if !came && m.s.options.Version != Newer {
			return nil, exception{"connect: the argument id is missing"}
		}
		if came && !seen[file] {
			files = append(files, file)
			seen[file] = true
		}
	}
	return files, nil
}

// tagExists looks for a tag of the same name, user and date. The date is never kept, so that one that was imported is
// not found.
func (m *importing) tagExists(t *tagRow, userID string, known bool) bool {
	return find(m.d.tags, func(e *tagRow) bool {
		same := e.UserID == nil
		if known {
			same = is(e.UserID, userID)
		}
		return same && e.Name == t.Name && e.CreatedAt == date(t.CreatedAt)
	}) != nil
}

func (m *importing) importURLs() error {
	taken := setOf(m.d.urls, func(u *urlRow) [2]string { return [2]string{value(u.UserID), u.Code} })
	vanities := map[[2]string]bool{}
	for _, u := range m.d.urls {
		vanities[[2]string{u.Code, value(u.Vanity)}] = u.Vanity != nil
	}
	for _, u := range m.Export4.Data.URLs {
		userID, known := m.users[value(u.UserID)]
		if !known || taken[[2]string{userID, u.Code}] {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := integers(&u.Views, u.MaxViews); err != nil {
			return err
		}
		if u.Vanity != nil && vanities[[2]string{u.Code, *u.Vanity}] {
			return exception{"unique constraint failed: code, vanity"}
		}
		n := *u
		n.ID, n.CreatedAt, n.updated, n.UserID = newID(), date(u.CreatedAt), m.now, &userID
		m.d.urls = append(m.d.urls, &n)
		taken[[2]string{userID, u.Code}], vanities[[2]string{u.Code, value(u.Vanity)}] = true, u.Vanity != nil
		m.made("urls", u.ID)
	}
	return nil
}

func (m *importing) importInvites() error {
	for _, i := range m.Export4.Data.Invites {
		inviterID, known := m.users[i.InviterID]
		if !known || find(m.d.invites, func(e *inviteRow) bool { return e.Code == i.Code && e.InviterID == inviterID }) != nil {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := integers(&i.Uses, i.MaxUses); err != nil {
			return err
		}
		if find(m.d.invites, func(e *inviteRow) bool { return e.Code == i.Code }) != nil {
			return exception{"unique constraint failed: code"}
		}
		n := *i
		n.ID, n.CreatedAt, n.updated, n.ExpiresAt, n.InviterID = newID(), date(i.CreatedAt), m.now, dateOrNull(i.ExpiresAt), inviterID
		m.d.invites = append(m.d.invites, &n)
		m.made("invites", i.ID)
	}
	return nil
}

// importMetrics adds all measurements in one statement, whatever is there.
func (m *importing) importMetrics() error {
	if len(m.Export4.Data.Metrics) == 0 {
		return nil
	}
	if err := m.before(); err != nil {
		return err
	}
	for _, row := range m.Export4.Data.Metrics {
		m.d.metrics = append(m.d.metrics, &metricRow{base: base{ID: newID(), CreatedAt: date(row.CreatedAt)}, Data: compact(row.Data)})
	}
	m.rows++
	return nil
}

// setOf returns the keys of rows.
func setOf[T any, K comparable](rows []*T, key func(*T) K) map[K]bool {
	set := make(map[K]bool, len(rows))
	for _, r := range rows {
		set[key(r)] = true
	}
	return set
}

// value returns what a column holds; "" where it is empty.
func value(column *string) string {
	if column == nil {
		return ""
	}
	return *column
}
