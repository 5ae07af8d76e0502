package standin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// webAddress takes http and https addresses with an ASCII host name.
var webAddress = such(text, "Invalid URL", func(value any) bool {
	u, err := url.Parse(value.(string))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return false
	}
	return strings.IndexFunc(u.Hostname(), func(r rune) bool { return r > 127 }) < 0
})

var urlRoutes = []route{
	{pattern: "GET /api/user/urls", least: user, run: listURLs},
	{pattern: "POST /api/user/urls", least: user, run: postURL, body: object(
		field{"vanity", optional(name)}, field{"destination", webAddress}, field{"enabled", optional(truth)},
	)},
	{pattern: "GET /api/user/urls/{id}", least: user, run: getURL},
	{pattern: "PATCH /api/user/urls/{id}", least: user, run: patchURL, body: object(
		field{"password", nullish(text)}, field{"vanity", nullish(name)}, field{"maxViews", nullish(least(0))},
		field{"destination", optional(webAddress)}, field{"enabled", optional(truth)},
	)},
	{pattern: "DELETE /api/user/urls/{id}", least: user, run: deleteURL},
}

// urlView is what the API shows of a URL; the order of the keys is Zipline's.
type urlView struct {
	ID          string  `json:"id"`
	CreatedAt   string  `json:"createdAt"`
	UpdatedAt   string  `json:"updatedAt"`
	Code        string  `json:"code"`
	Vanity      *string `json:"vanity"`
	Destination string  `json:"destination"`
	Views       number  `json:"views"`
	MaxViews    *number `json:"maxViews"`
	Enabled     bool    `json:"enabled"`
	UserID      *string `json:"userId"`
}

func showURL(u *urlRow) urlView {
	return urlView{u.ID, u.CreatedAt, u.updated, u.Code, u.Vanity, u.Destination, u.Views, u.MaxViews, u.Enabled, u.UserID}
}

func listURLs(c *call) (any, error) {
	all := []urlView{}
	for _, u := range c.d.urls {
		if is(u.UserID, c.user.ID) {
			all = append(all, showURL(u))
		}
	}
	return all, nil
}

func (d *Database) vanityTaken(vanity string) bool {
	return find(d.urls, func(u *urlRow) bool { return is(u.Vanity, vanity) }) != nil
}

// limitUser is the limit on uploads and new URLs, which the settings turn.
func (c *call) limitUser() error {
	on := func(name string) bool { return string(c.d.settings[name]) != "false" }
	var most int
	if json.Unmarshal(c.d.settings["ratelimitMax"], &most) != nil || !on("ratelimitEnabled") {
		return nil
	}
	if c.user.Role != "USER" && on("ratelimitAdminBypass") {
		return nil
	}
	return c.limit(most, time.Minute)
}

func postURL(c *call) (any, error) {
	if err := c.limitUser(); err != nil {
		return nil, err
	}
	own := where(c.d.urls, func(u *urlRow) bool { return is(u.UserID, c.user.ID) })
	if q := c.d.quota(c.user.ID); q != nil && q.MaxURLs != nil && number(len(own)+1) > *q.MaxURLs {
		return nil, fail(3012, "Shortening this URL would exceed your quota of X URLs")
	}
	vanity := c.trimmed("vanity")
	if vanity != "" && c.d.vanityTaken(vanity) {
		return nil, fail(1042, "Vanity already taken")
	}
	destination, _ := c.text("destination")
	u := &urlRow{
		base: base{newID(), c.now, c.now}, Code: newID()[2:8], Destination: destination, Enabled: true,
		Password: hashed(c.r.Header.Get("X-Zipline-Password")), UserID: &c.user.ID,
	}
	if vanity != "" {
		u.Vanity = &vanity
	}
	if enabled, given := c.flag("enabled"); given {
		u.Enabled = enabled
	}
	c.d.urls = append(c.d.urls, u)
	address := "http://" + c.r.Host + c.d.setting("urlsRoute") + "/" + u.Code
	if c.r.Header.Get("X-Zipline-No-Json") == "true" {
		c.w.Header().Set("Content-Type", "text/plain")
		c.w.WriteHeader(http.StatusOK)
		_, _ = c.w.Write([]byte(address)) // the client is gone: nobody to tell
		return sent, nil
	}
	return struct {
		urlView
		URL string `json:"url"`
	}{showURL(u), address}, nil
}

func (c *call) ownURL() (*urlRow, error) {
	u := find(c.d.urls, func(u *urlRow) bool { return u.ID == c.r.PathValue("id") && is(u.UserID, c.user.ID) })
	if u == nil {
		return nil, notFound
	}
	return u, nil
}

func getURL(c *call) (any, error) {
	u, err := c.ownURL()
	if err != nil {
		return nil, err
	}
	return showURL(u), nil
}

func patchURL(c *call) (any, error) {
	u, err := c.ownURL()
	if err != nil {
		return nil, err
	}
	vanity := c.trimmed("vanity")
	if vanity != "" && c.d.vanityTaken(vanity) {
		return nil, fail(1041, "Vanity already exists")
	}
	if c.has("vanity") {
		u.Vanity = nil
		if vanity != "" {
			u.Vanity = &vanity
		}
	}
	if c.has("password") {
		password, _ := c.text("password")
		u.Password = hashed(password)
	}
	if c.has("maxViews") {
		u.MaxViews = c.numberOrNull("maxViews")
	}
	if destination, given := c.text("destination"); given {
		u.Destination = destination
	}
	if enabled, given := c.flag("enabled"); given {
		u.Enabled = enabled
	}
	u.updated = c.now
	return showURL(u), nil
}

func deleteURL(c *call) (any, error) {
	u, err := c.ownURL()
	if err != nil {
		return nil, err
	}
	c.d.urls = slices.DeleteFunc(c.d.urls, func(o *urlRow) bool { return o == u })
	return showURL(u), nil
}
