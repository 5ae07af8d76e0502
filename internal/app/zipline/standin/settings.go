package standin

import (
	"encoding/json"
	"slices"
)

var settingsRoutes = []route{
	{pattern: "GET /api/server/settings", least: admin, run: getSettings},
	{pattern: "PATCH /api/server/settings", least: admin, seconds: 1, run: patchSettings, body: record(anything)},
}

// ownColumns are the settings' columns that are no settings.
var ownColumns = []string{"id", "createdAt", "updatedAt", "firstSetup"}

// settingsObject writes the settings in their order, with or without the columns that are no settings.
func (d *Database) settingsObject(all bool) json.RawMessage {
	text := []byte{'{'}
	for _, name := range d.order {
		if !all && slices.Contains(ownColumns, name) {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, compact(name)...), ':'), d.settings[name]...)
	}
	return append(text, '}')
}

// setting returns a setting that is a text; "" for another one.
func (d *Database) setting(name string) string {
	var text string
	_ = json.Unmarshal(d.settings[name], &text) // null and others: ""
	return text
}

type settingsAnswer struct {
	Settings json.RawMessage `json:"settings"`
	Tampered []string        `json:"tampered"`
}

func getSettings(c *call) (any, error) {
	return settingsAnswer{c.d.settingsObject(false), append([]string{}, c.s.options.Tampered...)}, nil
}

// settingIssue is a problem of one setting, or of several that belong together.
type settingIssue struct {
	Code    string   `json:"code"`
	Path    []string `json:"path"`
	Message string   `json:"message"`
}

// patchSettings takes all settings of a request, or none. Keys that it doesn't know are dropped without a word.
func patchSettings(c *call) (any, error) {
	known := map[string]any{}
	var issues []settingIssue
	for _, name := range c.d.order {
		wanted, given := c.body[name]
		check, setting := settingChecks[name]
		if !given || !setting {
			continue
		}
		known[name] = wanted
		if problem := check(&c.s.options, wanted); problem != nil {
			issues = append(issues, settingIssue{problem.code, []string{name}, problem.message})
		}
	}
	if len(issues) == 0 { // what belongs together is looked at only where each is right by itself
		issues = together(known)
	}
	if len(issues) > 0 {
		refused := fail(1022, "Invalid settings update")
		refused.Issues = issues
		return nil, refused
	}
	for name, wanted := range known {
		c.d.settings[name] = compact(stored(name, wanted))
	}
	if _, own := c.d.settings["updatedAt"]; own {
		c.d.settings["updatedAt"] = compact(c.now)
	}
	return getSettings(c)
}

// groups are settings of which none may be set without the others in the same request.
var groups = []struct {
	message string
	names   []string
}{
	{"discord oauth fields are incomplete", []string{"oauthDiscordClientId", "oauthDiscordClientSecret"}},
	{"google oauth fields are incomplete", []string{"oauthGoogleClientId", "oauthGoogleClientSecret"}},
	{"github oauth fields are incomplete", []string{"oauthGithubClientId", "oauthGithubClientSecret"}},
	{"oidc oauth fields are incomplete", []string{
		"oauthOidcClientId", "oauthOidcClientSecret", "oauthOidcAuthorizeUrl", "oauthOidcTokenUrl", "oauthOidcUserinfoUrl",
	}},
}

// together returns the problems of settings that depend on others: on those of the same request, whatever is stored.
func together(known map[string]any) (issues []settingIssue) {
	add := func(message string, names ...string) { issues = append(issues, settingIssue{"custom", names, message}) }
	full := func(name string) bool { return known[name] != nil && known[name] != "" && known[name] != 0.0 }
	for _, g := range groups {
		if slices.ContainsFunc(g.names, full) && slices.ContainsFunc(g.names, func(name string) bool { return !full(name) }) {
			add(g.message, g.names...)
		}
	}
	if full("ratelimitWindow") && !full("ratelimitMax") {
		add("ratelimitMax must be set if ratelimitWindow is set", "ratelimitMax")
	}
	if full("filesDefaultExpiration") && full("filesMaxExpiration") {
		usual, _ := millisecondsOf(known["filesDefaultExpiration"].(string))
		most, _ := millisecondsOf(known["filesMaxExpiration"].(string))
		if usual > most {
			add("filesDefaultExpiration must be less than or equal to filesMaxExpiration", "filesDefaultExpiration")
		}
	}
	if known["mfaPasskeysEnabled"] == true {
		if !full("mfaPasskeysRpID") {
			add("RP ID is required when passkeys are enabled", "mfaPasskeysRpID")
		}
		if !full("mfaPasskeysOrigin") {
			add("Origin is required when passkeys are enabled", "mfaPasskeysOrigin")
		}
	}
	if len(known) == 0 {
		add("No settings provided to update")
	}
	return issues
}
