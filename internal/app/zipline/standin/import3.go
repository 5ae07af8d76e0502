package standin

import (
	"bytes"
	"encoding/json"
	"math"
)

// import3Path is where exports of Zipline 3 are imported.
const import3Path = "/api/server/import/v3"

// import3Body is what it takes. There is no recording: it follows the form in Zipline's source, and that its problems are
// worded as those of import/v4 is inferred.
var import3Body = object(
	field{"export3", object(
		field{"versions", object(field{"zipline", text}, field{"node", text}, field{"export", oneOf("3")})},
		field{"request", object(
			field{"user", text}, field{"date", text},
			field{"os", object(
				field{"platform", union("aix", "darwin", "freebsd", "linux", "openbsd", "sunos", "win32")},
				field{"arch", union("arm", "arm64", "ia32", "loong64", "mips", "mipsel", "ppc", "ppc64", "riscv64", "s390", "s390x", "x64")},
				field{"cpus", num}, field{"hostname", text}, field{"release", text},
			)},
			field{"env", record(text)},
		)},
		field{"user_map", record(text)}, field{"thumbnail_map", record(text)}, field{"folder_map", record(text)},
		field{"file_map", record(text)}, field{"url_map", record(text)}, field{"invite_map", record(text)},
		field{"users", record(object(
			field{"username", text}, field{"password", nullish(text)}, field{"avatar", nullish(text)},
			field{"administrator", truth}, field{"super_administrator", truth},
			field{"embed", object(
				field{"title", nullish(text)}, field{"site_name", nullish(text)}, field{"description", nullish(text)}, field{"color", nullish(text)},
			)},
			field{"totp_secret", nullish(text)},
			field{"oauth", array(object(
				field{"provider", oneOf("DISCORD", "GITHUB", "GOOGLE")}, field{"username", text}, field{"oauth_id", orNull(text)},
				field{"access_token", orNull(text)}, field{"refresh_token", orNull(text)},
			))},
		))},
		field{"files", record(object(
			field{"name", text}, field{"original_name", nullish(text)}, field{"type", text}, field{"size", num}, field{"user", nullish(text)},
			field{"thumbnail", nullish(text)}, field{"max_views", nullish(num)}, field{"views", num}, field{"expires_at", nullish(text)},
			field{"created_at", text}, field{"favorite", truth}, field{"password", nullish(text)},
		))},
		field{"thumbnails", record(object(field{"name", text}, field{"created_at", text}))},
		field{"folders", record(object(
			field{"name", text}, field{"public", truth}, field{"created_at", text}, field{"user", nullish(text)}, field{"files", array(text)},
		))},
		field{"urls", record(object(
			field{"destination", text}, field{"vanity", nullish(text)}, field{"code", text}, field{"created_at", text},
			field{"max_views", nullish(num)}, field{"views", num}, field{"user", nullish(text)},
		))},
		field{"invites", record(object(
			field{"code", text}, field{"expires_at", nullish(text)}, field{"created_at", text}, field{"used", truth}, field{"created_by_user", nullish(text)},
		))},
		field{"stats", optional(array(object(field{"created_at", text}, field{"data", anything})))},
	)},
	field{"importFromUser", optional(text)},
)

// members are those of an object, in its order.
type members[T any] []member[T]

type member[T any] struct {
	key   string
	value T
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *members[T]) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		each := member[T]{key: key.(string)} // was checked
		if err := decoder.Decode(&each.value); err != nil {
			return err
		}
		*m = append(*m, each)
	}
	return nil
}

// Records of an export of Zipline 3.
type (
	user3 struct {
		Username   string   `json:"username"`
		Password   string   `json:"password"`
		Avatar     *string  `json:"avatar"`
		Admin      bool     `json:"administrator"`
		SuperAdmin bool     `json:"super_administrator"`
		TOTPSecret *string  `json:"totp_secret"`
		Oauth      []oauth3 `json:"oauth"`
	}
	oauth3 struct {
		Provider     string  `json:"provider"`
		Username     string  `json:"username"`
		OauthID      *string `json:"oauth_id"`
		AccessToken  *string `json:"access_token"`
		RefreshToken *string `json:"refresh_token"`
	}
	file3 struct {
		Name         string `json:"name"`
		OriginalName string `json:"original_name"`
		Type         string `json:"type"`
		Size         number `json:"size"`
		User         string `json:"user"`
		MaxViews     number `json:"max_views"`
		Views        number `json:"views"`
		ExpiresAt    string `json:"expires_at"`
		CreatedAt    string `json:"created_at"`
		Favorite     bool   `json:"favorite"`
		Password     string `json:"password"`
	}
	folder3 struct {
		Name      string   `json:"name"`
		Public    bool     `json:"public"`
		CreatedAt string   `json:"created_at"`
		User      string   `json:"user"`
		Files     []string `json:"files"`
	}
	url3 struct {
		Destination string `json:"destination"`
		Vanity      string `json:"vanity"`
		Code        string `json:"code"`
		CreatedAt   string `json:"created_at"`
		MaxViews    number `json:"max_views"`
		Views       number `json:"views"`
		User        string `json:"user"`
	}
)

// importing3 is one import. What the ids have become is also its answer.
type importing3 struct {
	*call
	Export3 struct {
		Users   members[user3]   `json:"users"`
		Files   members[file3]   `json:"files"`
		Folders members[folder3] `json:"folders"`
		URLs    members[url3]    `json:"urls"`
	} `json:"export3"`
	ImportFromUser string `json:"importFromUser"`

	users, files, folders, urls map[string]string
	rows                        int
}

// importV3 follows the import of exports of Zipline 3 table by table. Thumbnails, invites, stats and the texts for embeds are
// passed over. Nothing is undone when it breaks off.
func importV3(c *call) (any, error) {
	m := &importing3{call: c, users: map[string]string{}, files: map[string]string{}, folders: map[string]string{}, urls: map[string]string{}}
	if err := json.Unmarshal(c.raw, m); err != nil {
		return nil, exception{err.Error()}
	}
	for _, table := range []func() error{m.importUsers, m.importFiles, m.importFolders, m.importURLs} {
		if err := table(); err != nil {
			return nil, err
		}
	}
	return struct {
		Users   map[string]string `json:"users"`
		Files   map[string]string `json:"files"`
		Folders map[string]string `json:"folders"`
		URLs    map[string]string `json:"urls"`
	}{m.users, m.files, m.folders, m.urls}, nil
}

func (m *importing3) before() error {
	if m.fault.Cut == CutInside && m.rows >= m.fault.Rows {
		return errCut
	}
	m.rows++
	return nil
}

func (m *importing3) importUsers() error {
	for _, each := range m.Export3.Users {
		u, merged := each.value, m.ImportFromUser != "" && each.key == m.ImportFromUser
		if !merged && find(m.d.users, func(o *userRow) bool { return o.Username == u.Username }) != nil {
			continue // with everything that is the user's
		}
		providers, err := m.providers(u.Oauth)
		if err == nil {
			err = storable(u.Username)
		}
		if err == nil {
			err = m.before()
		}
		if err != nil {
			return err
		}
		row := m.user
		if merged {
			row.Avatar, row.TOTPSecret, row.updated = u.Avatar, u.TOTPSecret, m.now
		} else {
			row = &userRow{
				base: base{newID(), m.now, m.now}, Username: u.Username, Password: filled(u.Password), Avatar: u.Avatar,
				Role: u.role(), View: json.RawMessage(`{}`), TOTPSecret: u.TOTPSecret, token: newID(),
			}
			m.d.users = append(m.d.users, row)
		}
		for _, o := range providers {
			o.UserID = row.ID
			m.d.oauth = append(m.d.oauth, o)
		}
		m.users[each.key] = row.ID
	}
	return nil
}

func (u user3) role() string {
	switch {
	case u.SuperAdmin:
		return "SUPERADMIN"
	case u.Admin:
		return "ADMIN"
	}
	return "USER"
}

// providers returns those of a user that come in: of an id that no row has, whatever its provider. That two of one user
// with one provider and id break off the import is inferred from the index of the table.
func (m *importing3) providers(all []oauth3) ([]*oauthRow, error) {
	var rows []*oauthRow
	for _, o := range all {
		if find(m.d.oauth, func(e *oauthRow) bool { return sameText(e.OauthID.text, o.OauthID) }) != nil {
			continue
		}
		if o.AccessToken == nil {
			return nil, exception{"null value in column accessToken"}
		}
		if o.OauthID != nil && find(rows, func(e *oauthRow) bool { return e.Provider == o.Provider && sameText(e.OauthID.text, o.OauthID) }) != nil {
			return nil, exception{"unique constraint failed: provider, oauthId"}
		}
		rows = append(rows, &oauthRow{
			base: base{ID: newID(), CreatedAt: m.now}, Provider: o.Provider, Username: o.Username, AccessToken: *o.AccessToken,
			RefreshToken: o.RefreshToken, OauthID: maybe{given: true, text: o.OauthID},
		})
	}
	return rows, nil
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// filled is a text for a column that is empty where there is none.
func filled(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func filledNumber(n number) *number {
	if n == 0 {
		return nil
	}
	return &n
}

// parsed returns a date, or that of now where it is none, as this import does.
func (m *importing3) parsed(text string) string {
	if _, ok := parseDate(text); !ok {
		return m.now
	}
	return date(text)
}

func (m *importing3) importFiles() error {
	taken := setOf(m.d.files, func(f *fileRow) string { return f.Name })
	for _, each := range m.Export3.Files {
		f := each.value
		user, known := m.users[f.User]
		if !known || f.User == "" || taken[f.Name] {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		stored, err := m.s.options.Version.storedName(f.Name)
		if err == nil {
			err = storable(stored, f.OriginalName)
		}
		if err == nil && !f.Size.whole(math.MaxInt64) {
			err = exception{"a size is no whole number"}
		}
		if err == nil {
			err = integers(&f.Views, &f.MaxViews)
		}
		if err != nil {
			return err
		}
		row := &fileRow{
			base: base{newID(), m.parsed(f.CreatedAt), m.now}, Name: stored, OriginalName: filled(f.OriginalName), Size: f.Size,
			Type: f.Type, Views: f.Views, MaxViews: filledNumber(f.MaxViews), Favorite: f.Favorite, Password: filled(f.Password), UserID: &user,
		}
		if f.ExpiresAt != "" {
			row.DeletesAt = new(m.parsed(f.ExpiresAt))
		}
		m.d.files = append(m.d.files, row)
		taken[stored] = true
		m.files[each.key] = row.ID
	}
	return nil
}

// importFolders takes several of a name, and none of which a file did not come in.
func (m *importing3) importFolders() error {
	files := map[string]*fileRow{}
	for _, f := range m.d.files {
		files[f.ID] = f
	}
	for _, each := range m.Export3.Folders {
		f := each.value
		user, known := m.users[f.User]
		if !known || f.User == "" || m.missing(f.Files) {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := storable(f.Name); err != nil {
			return err
		}
		row := &folderRow{base: base{newID(), m.parsed(f.CreatedAt), m.now}, Name: f.Name, Public: f.Public, UserID: user}
		m.d.folders = append(m.d.folders, row)
		for _, file := range f.Files {
			files[m.files[file]].FolderID = &row.ID
		}
		m.folders[each.key] = row.ID
	}
	return nil
}

func (m *importing3) missing(files []string) bool {
	for _, file := range files {
		if m.files[file] == "" {
			return true
		}
	}
	return false
}

// importURLs takes none of a code that anybody has.
func (m *importing3) importURLs() error {
	taken := setOf(m.d.urls, func(u *urlRow) string { return u.Code })
	for _, each := range m.Export3.URLs {
		u := each.value
		user, known := m.users[u.User]
		if !known || u.User == "" || taken[u.Code] {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := integers(&u.Views, &u.MaxViews); err != nil {
			return err
		}
		row := &urlRow{
			base: base{newID(), m.parsed(u.CreatedAt), m.now}, Code: u.Code, Vanity: filled(u.Vanity), Destination: u.Destination,
			Views: u.Views, MaxViews: filledNumber(u.MaxViews), Enabled: true, UserID: &user,
		}
		m.d.urls = append(m.d.urls, row)
		taken[u.Code] = true
		m.urls[each.key] = row.ID
	}
	return nil
}
