package zipline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

const settingsPath = "/api/server/settings"

// notSettings are keys of the settings' row that are no settings.
var notSettings = []string{"id", "createdAt", "updatedAt", "firstSetup"}

// stuck are settings that depend on the machine that Zipline runs on, and why they are left out.
var stuck = map[string]string{
	"coreTempDirectory":               "it names a folder of the old server",
	"websiteDefaultAvatar":            "it names a file of the old server",
	"websiteTos":                      "it names a file of the old server",
	"featuresThumbnailsNumberThreads": "it depends on the CPUs of the server",
}

// together are settings that Zipline takes only in one request: it looks at nothing but the request, not at what is set.
var together = [][]string{
	{"oauthDiscordClientId", "oauthDiscordClientSecret"},
	{"oauthGoogleClientId", "oauthGoogleClientSecret"},
	{"oauthGithubClientId", "oauthGithubClientSecret"},
	{"oauthOidcClientId", "oauthOidcClientSecret", "oauthOidcAuthorizeUrl", "oauthOidcTokenUrl", "oauthOidcUserinfoUrl"},
	{"mfaPasskeysEnabled", "mfaPasskeysRpID", "mfaPasskeysOrigin"},
	{"ratelimitWindow", "ratelimitMax"},
}

// unsetNote is the note of the settings that the target refused: key to its reason.
const unsetNote = "settings"

// settingsOf returns the target's settings, and those that its environment overrides.
func (t *Target) settingsOf(ctx context.Context) (has fields, overridden []string, err error) {
	var answer struct {
		Settings fields   `json:"settings"`
		Tampered []string `json:"tampered"`
	}
	const doing = "read the target's settings"
	r, err := t.call(ctx, http.MethodGet, settingsPath, "", nil)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", doing, err)
	case r.StatusCode == http.StatusNotFound: // they can't be read, and so not be set: each is named
		return nil, nil, nil
	case !r.ok():
		return nil, nil, refused(doing, r)
	case json.Unmarshal(r.body, &answer) != nil:
		return nil, nil, failure.New(failure.Invalid, "%s: the answer is not one of Zipline's", doing).
			WithHint("check that the target's url is that of Zipline itself, without a path")
	}
	return answer.Settings, answer.Tampered, nil
}

// unlike returns the settings of the backup that the target has otherwise and can take, as far as one can know.
func unlike(backup, target fields) fields {
	differ := fields{}
	for key, value := range backup {
		was, known := target[key]
		if known && !slices.Contains(notSettings, key) && stuck[key] == "" && canonical(value) != canonical(was) {
			differ[key] = value
		}
	}
	for _, group := range together {
		if !slices.ContainsFunc(group, func(key string) bool { _, touched := differ[key]; return touched }) {
			continue
		}
		for _, key := range group {
			value, has := backup[key]
			if _, known := target[key]; known && has {
				differ[key] = value
			}
		}
	}
	return differ
}

// setSettings sets what differs: all at once, then without what Zipline names as wrong, then one by one.
func (t *Target) setSettings(ctx context.Context, r *app.Replay, p *plan) (bool, error) {
	backup := backupView(r, p)
	if err := backup.learn(ctx); err != nil {
		return false, err
	}
	has, _, err := t.settingsOf(ctx)
	if err != nil {
		return false, err
	}
	refusedKeys := map[string]string{}
	if _, err := r.Notes.Get(ctx, unsetNote, &refusedKeys); err != nil {
		return false, fmt.Errorf("read the notes of this restore: %w", err)
	}
	todo := unlike(backup.settings, has)
	for rounds := 0; len(todo) > 0 && rounds <= len(backup.settings); rounds++ {
		if t.nearEnd(ctx) {
			return false, nil
		}
		if rounds > 0 {
			if err := t.client.sleep(ctx, time.Second); err != nil {
				return false, err
			}
		}
		bad, reason, err := t.patchSettings(ctx, todo)
		if err != nil {
			return false, err
		}
		if bad == nil {
			break
		}
		for _, key := range bad {
			refusedKeys[key] = reason
			delete(todo, key)
		}
	}
	if err := r.Notes.Put(ctx, unsetNote, refusedKeys); err != nil {
		return false, fmt.Errorf("note the settings: %w", err)
	}
	return true, nil
}

// patchSettings sends settings. It returns the keys that Zipline refuses and why; none when it took all.
func (t *Target) patchSettings(ctx context.Context, todo fields) (bad []string, reason string, err error) {
	answer, err := t.patchOnce(ctx, todo)
	if err != nil || answer.ok() {
		return nil, "", err
	}
	reason = quote(answer.said().Error, answer.Response)
	if bad = issueKeys(answer.body, todo); len(bad) > 0 {
		return bad, reason, nil
	}
	for _, some := range bunches(todo) { // it doesn't say which: one by one
		if err := t.client.sleep(ctx, time.Second); err != nil {
			return nil, "", err
		}
		answer, err := t.patchOnce(ctx, some)
		if err != nil {
			return nil, "", err
		}
		if !answer.ok() {
			bad = append(bad, slices.Sorted(maps.Keys(some))...)
		}
	}
	if len(bad) == 0 {
		return nil, "", nil
	}
	for key := range todo { // the others are set
		if !slices.Contains(bad, key) {
			delete(todo, key)
		}
	}
	return bad, reason, nil
}

func (t *Target) patchOnce(ctx context.Context, some fields) (reply, error) {
	answer, err := t.call(ctx, http.MethodPatch, settingsPath, "", some)
	if err == nil && !answer.ok() && answer.StatusCode != http.StatusBadRequest {
		err = refused("set the settings", answer)
	}
	return answer, err
}

// issueKeys returns those keys of a refused request that the answer names, with those that go together with them.
func issueKeys(body []byte, todo fields) []string {
	var answer struct {
		Issues []struct {
			Path         []any  `json:"path"`
			InstancePath string `json:"instancePath"`
		} `json:"issues"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	bad := map[string]bool{}
	for _, issue := range answer.Issues {
		words := strings.Split(issue.InstancePath, "/")
		for _, part := range issue.Path {
			if text, ok := part.(string); ok {
				words = append(words, text)
			}
		}
		for _, word := range words {
			if _, sent := todo[word]; !sent {
				continue
			}
			for _, key := range groupOf(word) {
				if _, sent := todo[key]; sent {
					bad[key] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(bad))
}

// groupOf returns the settings that go together with one, itself with them.
func groupOf(key string) []string {
	for _, group := range together {
		if slices.Contains(group, key) {
			return group
		}
	}
	return []string{key}
}

// bunches splits settings into what Zipline takes at once.
func bunches(todo fields) []fields {
	groups := map[string]fields{}
	for key, value := range todo {
		name := groupOf(key)[0]
		if groups[name] == nil {
			groups[name] = fields{}
		}
		groups[name][key] = value
	}
	var all []fields
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[name])
	}
	return all
}

// foreseeSettings says which settings are to be set, and which can't be.
func (f *preflight) foreseeSettings(ctx context.Context) error {
	has, _, err := f.settingsOf(ctx)
	if err != nil {
		return err
	}
	f.settings = app.Count{What: "settings"}
	backup := f.compared.backup.settings
	for _, key := range slices.Sorted(maps.Keys(backup)) {
		if slices.Contains(notSettings, key) {
			continue
		}
		f.settings.Backup++
		is, known := has[key]
		switch {
		case known && canonical(is) == canonical(backup[key]):
			f.settings.Exists++
		case !known:
			f.settings.Skip++
			f.report.add(note("setting", key, "the target's version of Zipline has no such setting"))
		case stuck[key] != "":
			f.settings.Skip++
			f.report.add(note("setting", key, "it stays as it is on the target, because %s", stuck[key]))
		case f.stages.Settings:
			f.settings.Skip++
			f.report.add(note("changed", key, "this restore has set the settings before: it stays as it is on the target"))
		default:
			f.settings.Create++
		}
	}
	return nil
}
