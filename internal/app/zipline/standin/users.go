package standin

import (
	"encoding/json"
	"maps"
	"slices"
)

var userRoutes = []route{
	{pattern: "GET /api/user", least: user, run: whoAmI},
	{pattern: "PATCH /api/user", least: user, seconds: 1, run: patchMe, body: object(
		field{"username", optional(name)}, field{"password", optional(name)}, field{"avatar", nullish(text)},
		field{"view", optional(record(anything))},
	)},
	{pattern: "GET /api/user/token", least: user, run: func(c *call) (any, error) {
		return map[string]string{"token": c.user.token}, nil
	}},
	{pattern: "GET /api/users", least: admin, run: listUsers, query: object(field{"noincl", queryFlag})},
	{pattern: "POST /api/users", least: admin, seconds: 1, run: postUser, body: object(
		field{"username", name}, field{"password", name}, field{"avatar", optional(text)}, field{"role", optional(anyRole)},
	)},
	{pattern: "GET /api/users/{id}", least: admin, run: getUser},
	{pattern: "PATCH /api/users/{id}", least: admin, run: patchUser, body: object(
		field{"username", optional(name)}, field{"password", optional(name)}, field{"avatar", optional(text)},
		field{"role", optional(anyRole)}, field{"quota", optional(quotaForm)},
	)},
	{pattern: "DELETE /api/users/{id}", least: admin, run: deleteUser, body: object(field{"delete", optional(truth)})},
}

var (
	anyRole   = oneOf("USER", "ADMIN", "SUPERADMIN")
	quotaForm = object(
		field{"filesType", optional(oneOf("BY_BYTES", "BY_FILES", "NONE"))}, field{"maxFiles", nullish(least(1))},
		field{"maxBytes", nullish(name)}, field{"maxUrls", nullish(least(1))},
	)
)

// hashed stands for a password's hash: the stand-in knows no passwords.
func hashed(password string) *string {
	if password == "" {
		return nil
	}
	return new("$argon2id$v=19$m=65536,t=3,p=4$c3RhbmQtaW4$c3RhbmQtaW4")
}

// quotaView, userView and self are what the API shows of a user; the order of the keys is Zipline's.
type quotaView struct {
	ID         string  `json:"id"`
	CreatedAt  string  `json:"createdAt"`
	UpdatedAt  string  `json:"updatedAt"`
	FilesQuota string  `json:"filesQuota"`
	MaxBytes   *string `json:"maxBytes"`
	MaxFiles   *number `json:"maxFiles"`
	MaxURLs    *number `json:"maxUrls"`
	UserID     *string `json:"userId"`
}

type userView struct {
	ID        string          `json:"id"`
	Username  string          `json:"username"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
	Role      string          `json:"role"`
	View      json.RawMessage `json:"view"`
	Quota     *quotaView      `json:"quota"`
	Avatar    any             `json:"avatar,omitempty"` // a *string: null is written
}

type self struct {
	ID             string          `json:"id"`
	Username       string          `json:"username"`
	CreatedAt      string          `json:"createdAt"`
	UpdatedAt      string          `json:"updatedAt"`
	Role           string          `json:"role"`
	View           json.RawMessage `json:"view"`
	Sessions       []any           `json:"sessions"`
	OauthProviders []*oauthRow     `json:"oauthProviders"`
	TOTPSecret     *string         `json:"totpSecret"`
	Passkeys       []passkeyView   `json:"passkeys"`
	Quota          *quotaView      `json:"quota"`
}

type passkeyView struct {
	ID        string          `json:"id"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
	LastUsed  *string         `json:"lastUsed"`
	Name      string          `json:"name"`
	Reg       json.RawMessage `json:"reg"`
	UserID    string          `json:"userId"`
}

func (d *Database) quotaView(user string) *quotaView {
	q := d.quota(user)
	if q == nil {
		return nil
	}
	return &quotaView{q.ID, q.CreatedAt, q.updated, q.FilesQuota, q.MaxBytes, q.MaxFiles, q.MaxURLs, q.UserID}
}

func (d *Database) userView(u *userRow) userView {
	return userView{ID: u.ID, Username: u.Username, CreatedAt: u.CreatedAt, UpdatedAt: u.updated, Role: u.Role, View: u.View, Quota: d.quotaView(u.ID)}
}

// whoAmI answers as to a token, which has no session of its own.
func whoAmI(c *call) (any, error) {
	u := c.user
	passkeys := []passkeyView{}
	for _, p := range c.d.passkeys {
		if p.UserID == u.ID {
			passkeys = append(passkeys, passkeyView{p.ID, p.CreatedAt, p.updated, p.LastUsed, p.Name, p.Reg, p.UserID})
		}
	}
	return map[string]self{"user": {
		ID: u.ID, Username: u.Username, CreatedAt: u.CreatedAt, UpdatedAt: u.updated, Role: u.Role, View: u.View,
		Sessions:       []any{},
		OauthProviders: where(c.d.oauth, func(o *oauthRow) bool { return o.UserID == u.ID }),
		TOTPSecret:     u.TOTPSecret, Passkeys: passkeys, Quota: c.d.quotaView(u.ID),
	}}, nil
}

func (d *Database) userNamed(name string) *userRow {
	return find(d.users, func(u *userRow) bool { return u.Username == name })
}

// viewKeys are the members of a user's view that PATCH /api/user takes.
var viewKeys = []string{
	"enabled", "content", "embed", "embedMediaOnly", "embedTitle", "embedDescription", "embedColor", "embedSiteName", "align",
	"showMimetype", "showTags", "showFolder",
}

func patchMe(c *call) (any, error) {
	username := c.trimmed("username")
	if username != "" && c.d.userNamed(username) != nil {
		return nil, fail(1038, "Username already exists")
	}
	if username != "" {
		c.user.Username = username
	}
	if password := c.trimmed("password"); password != "" {
		c.user.Password = hashed(password)
	}
	if c.has("avatar") {
		c.user.Avatar = c.textOrNull("avatar")
		if is(c.user.Avatar, "") {
			c.user.Avatar = nil
		}
	}
	if changes, given := c.body["view"].(map[string]any); given {
		view := map[string]any{}
		if err := json.Unmarshal(c.user.View, &view); err != nil {
			return nil, exception{err.Error()}
		}
		maps.DeleteFunc(changes, func(key string, _ any) bool { return !slices.Contains(viewKeys, key) })
		maps.Copy(view, changes)
		c.user.View = compact(view)
	}
	c.user.updated = c.now
	return whoAmI(c)
}

// listUsers lists those whom the caller may touch.
func listUsers(c *call) (any, error) {
	all := []userView{}
	for _, u := range c.d.users {
		if canInteract(c.user.Role, u.Role) {
			view := c.d.userView(u)
			view.Avatar = u.Avatar
			all = append(all, view)
		}
	}
	return all, nil
}

func postUser(c *call) (any, error) {
	username, role := c.trimmed("username"), c.trimmed("role")
	switch {
	case c.d.userNamed(username) != nil:
		return nil, fail(1040, "A user with this username already exists")
	case role == "":
		role = "USER"
	case !canInteract(c.user.Role, role):
		return nil, fail(3008, "You cannot create this role")
	}
	u := &userRow{
		base: base{newID(), c.now, c.now}, Username: username, Password: hashed(c.trimmed("password")), Role: role,
		Avatar: c.textOrNull("avatar"), View: json.RawMessage(`{}`), token: newID(),
	}
	c.d.users = append(c.d.users, u)
	return c.d.userView(u), nil
}

func getUser(c *call) (any, error) {
	u := c.d.user(c.r.PathValue("id"))
	if u == nil || !canInteract(c.user.Role, u.Role) {
		return nil, noSuchUser
	}
	return c.d.userView(u), nil
}

func patchUser(c *call) (any, error) {
	u := c.d.user(c.r.PathValue("id"))
	role := c.trimmed("role")
	switch {
	case u == nil:
		return nil, noSuchUser
	case !canInteract(c.user.Role, u.Role):
		return nil, fail(3019, "You cannot modify this user")
	case role != "" && !canInteract(c.user.Role, role):
		return nil, fail(3007, "You cannot assign this role")
	}
	username := c.trimmed("username")
	if other := c.d.userNamed(username); username != "" && other != nil && other != u {
		return nil, exception{"unique constraint failed: username"}
	}
	if quota, given := c.body["quota"].(map[string]any); given {
		if err := c.setQuota(u.ID, quota); err != nil {
			return nil, err
		}
	}
	if username != "" {
		u.Username = username
	}
	if role != "" {
		u.Role = role
	}
	if password := c.trimmed("password"); password != "" {
		u.Password = hashed(password)
	}
	if avatar, _ := c.text("avatar"); avatar != "" {
		u.Avatar = &avatar
	}
	u.updated = c.now
	return c.d.userView(u), nil
}

// setQuota makes or changes a user's quota. maxUrls is set at each change, to null where it is not given.
func (c *call) setQuota(user string, wanted map[string]any) error {
	kind, _ := wanted["filesType"].(string)
	if _, given := wanted["maxBytes"]; kind == "BY_BYTES" && !given {
		return fail(1056, "The 'maxBytes' value is required")
	}
	if _, given := wanted["maxFiles"]; kind == "BY_FILES" && !given {
		return fail(1057, "The 'maxFiles' value is required")
	}
	q := c.d.quota(user)
	if q == nil {
		q = &quotaRow{base: base{ID: newID(), CreatedAt: c.now}, FilesQuota: "BY_BYTES", UserID: &user}
		c.d.quotas = append(c.d.quotas, q)
	}
	q.MaxURLs, q.updated = numberIn(wanted, "maxUrls"), c.now
	if kind == "" {
		return nil
	}
	q.FilesQuota, q.MaxBytes, q.MaxFiles = "BY_BYTES", nil, nil
	switch text, _ := wanted["maxBytes"].(string); {
	case kind == "BY_FILES":
		q.FilesQuota, q.MaxFiles = "BY_FILES", numberIn(wanted, "maxFiles")
	case kind == "BY_BYTES" && bytesOf(text) > 0:
		q.MaxBytes = &text
	}
	return nil
}

// deleteUser deletes a user. Folders, quota, passkeys, OAuth links and invites go with it; files and URLs go where the
// request says so, and stay ownerless otherwise; tags always stay ownerless, and their names stay taken.
func deleteUser(c *call) (any, error) {
	u := c.d.user(c.r.PathValue("id"))
	switch {
	case u == nil:
		return nil, noSuchUser
	case u == c.user:
		return nil, fail(3010, "You cannot delete yourself")
	case !canInteract(c.user.Role, u.Role):
		return nil, fail(3009, "You cannot delete this user")
	}
	view := c.d.userView(u)
	if too, _ := c.flag("delete"); too {
		c.deleteFiles(true, where(c.d.files, func(f *fileRow) bool { return is(f.UserID, u.ID) })...)
		c.d.urls = slices.DeleteFunc(c.d.urls, func(l *urlRow) bool { return is(l.UserID, u.ID) })
	}
	c.d.dropUser(u)
	return view, nil
}

// dropUser deletes a user's row and does what the database does with those that refer to it.
func (d *Database) dropUser(u *userRow) {
	d.users = slices.DeleteFunc(d.users, func(o *userRow) bool { return o == u })
	d.oauth = slices.DeleteFunc(d.oauth, func(o *oauthRow) bool { return o.UserID == u.ID })
	d.quotas = slices.DeleteFunc(d.quotas, func(q *quotaRow) bool { return is(q.UserID, u.ID) })
	d.passkeys = slices.DeleteFunc(d.passkeys, func(p *passkeyRow) bool { return p.UserID == u.ID })
	d.invites = slices.DeleteFunc(d.invites, func(i *inviteRow) bool { return i.InviterID == u.ID })
	for _, f := range where(d.folders, func(f *folderRow) bool { return f.UserID == u.ID }) {
		d.dropFolder(f.ID)
	}
	for _, f := range d.files {
		if is(f.UserID, u.ID) {
			f.UserID = nil
		}
	}
	for _, l := range d.urls {
		if is(l.UserID, u.ID) {
			l.UserID = nil
		}
	}
	for _, t := range d.tags {
		if is(t.UserID, u.ID) {
			t.UserID = nil
		}
	}
}
