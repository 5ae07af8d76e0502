package standin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// role is what a user may do.
type role int

const (
	nobody role = iota
	user
	admin
	superAdmin
)

var roles = map[string]role{"USER": user, "ADMIN": admin, "SUPERADMIN": superAdmin}

// canInteract reports whether a user may touch what belongs to a user of another role: never one of the same role.
func canInteract(current, target string) bool {
	return roles[current] >= admin && roles[target] < roles[current]
}

// mayTouch is canInteract, or the user itself. Things without an owner are anybody's above USER.
func mayTouch(current, owner *userRow) bool {
	if owner == nil {
		return canInteract(current.Role, "USER")
	}
	return current.ID == owner.ID || canInteract(current.Role, owner.Role)
}

// route is one call of the API that needs the tables.
type route struct {
	pattern string
	least   role
	seconds int   // one request per so many seconds; 0: no limit
	query   shape // of the parameters; nil: any
	body    shape // nil: the body is not read
	large   bool  // the body is an import, of which call.body is not kept
	run     func(*call) (any, error)
}

// call is one request on its way.
type call struct {
	s     *Server
	d     *Database // locked
	w     http.ResponseWriter
	r     *http.Request
	user  *userRow
	raw   []byte         // the body
	body  map[string]any // the same, decoded; nil for an import
	now   string
	fault Fault
}

var (
	errCut  = errors.New("the connection breaks")         // ends a request without an answer
	errHang = errors.New("the request is never answered") // until the client has had enough
	sent    = any(new(int))                               // what run returns where it has written the answer itself
)

// serveRoute checks a request in Zipline's order: form, token, role, rate. Only then does it run.
func (s *Server) serveRoute(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, d: s.database, w: w, r: r, fault: faultOf(r), now: moment(s.options.Now())}
		answer, err := c.serve(rt)
		switch {
		case errors.Is(err, errCut):
			panic(http.ErrAbortHandler)
		case errors.Is(err, errHang):
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		case err != nil:
			answerError(w, err)
		case answer != sent:
			reply(w, http.StatusOK, answer)
		}
	}
}

func (c *call) serve(rt route) (any, error) {
	if rt.query != nil {
		if problems := rt.query(query(c.r), true, ""); len(problems) > 0 {
			return nil, invalid{"querystring", problems}
		}
	}
	if rt.body != nil {
		if err := c.read(rt); err != nil {
			return nil, err
		}
	}
	c.d.mutex.Lock()
	defer c.d.mutex.Unlock()
	if rt.least == nobody {
		return rt.run(c)
	}
	if err := c.authorize(min(rt.least, admin)); err != nil {
		return nil, err
	}
	if rt.seconds > 0 {
		if err := c.limit(1, time.Duration(rt.seconds)*time.Second); err != nil {
			return nil, err
		}
	}
	if roles[c.user.Role] < rt.least {
		return nil, notSuperAdmin
	}
	return rt.run(c)
}

// authorize finds the user of the token.
func (c *call) authorize(least role) error {
	token := c.r.Header.Get("Authorization")
	if token == "" {
		return noSession
	}
	c.user = find(c.d.users, func(u *userRow) bool { return u.token == token })
	switch {
	case c.user == nil:
		return badToken
	case roles[c.user.Role] < least:
		return adminOnly
	}
	return nil
}

// read reads and checks the body.
func (c *call) read(rt route) error {
	raw, err := io.ReadAll(c.r.Body)
	if err != nil {
		return refusal{"Request body size did not match Content-Length", http.StatusBadRequest}
	}
	var value any
	switch {
	case len(raw) == 0:
	case !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json"):
		return refusal{"Unsupported Media Type", http.StatusUnsupportedMediaType}
	case !json.Valid(raw):
		return refusal{"Body is not valid JSON but content-type is set to 'application/json'", http.StatusBadRequest}
	case rt.large:
		value = branch(raw, "export4", "data")
	default:
		value = whole(raw)
	}
	if problems := rt.body(value, true, ""); len(problems) > 0 {
		return invalid{"body", problems}
	}
	c.raw = raw
	if !rt.large {
		c.body, _ = value.(map[string]any)
	}
	return nil
}

// query returns the first value of each parameter.
func query(r *http.Request) map[string]any {
	all := map[string]any{}
	for name, values := range r.URL.Query() {
		all[name] = values[0]
	}
	return all
}

func (c *call) param(name string) string { return c.r.URL.Query().Get(name) }

// text returns a member of the body; given is false where it is missing or null.
func (c *call) text(name string) (text string, given bool) {
	text, given = c.body[name].(string)
	return text, given
}

// trimmed is text without white space at the ends.
func (c *call) trimmed(name string) string {
	text, _ := c.text(name)
	return trim(text)
}

func (c *call) flag(name string) (value, given bool) {
	value, given = c.body[name].(bool)
	return value, given
}

// has reports whether the body has a member, null or not.
func (c *call) has(name string) bool {
	_, given := c.body[name]
	return given
}

// textOrNull returns a member of the body for a column that may be empty.
func (c *call) textOrNull(name string) *string {
	if text, given := c.text(name); given {
		return &text
	}
	return nil
}

// numberOrNull is textOrNull for numbers.
func (c *call) numberOrNull(name string) *number { return numberIn(c.body, name) }

func numberIn(object map[string]any, name string) *number {
	if value, given := object[name].(float64); given {
		return new(number(value))
	}
	return nil
}

// texts returns a list of the body.
func (c *call) texts(name string) []string {
	list, _ := c.body[name].([]any)
	all := make([]string, 0, len(list))
	for _, entry := range list {
		all = append(all, entry.(string)) // was checked
	}
	return all
}
