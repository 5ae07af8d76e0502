package standin

import "encoding/json"

var publicRoutes = []route{
	{pattern: "GET /api/server/public", run: public},
	{pattern: "GET /api/user/stats", least: user, run: stats},
}

// public answers GET /api/server/public, which needs no token: what a login page must know.
func public(c *call) (any, error) {
	type group map[string]any
	raw := func(name string) json.RawMessage { return c.d.settings[name] }
	enabled := func(provider string) bool { return c.d.setting("oauth"+provider+"ClientId") != "" }
	return struct {
		OAuth        group `json:"oauth"`
		OAuthEnabled group `json:"oauthEnabled"`
		Website      group `json:"website"`
		Features     group `json:"features"`
		MFA          group `json:"mfa"`
		Files        group `json:"files"`
		Chunks       group `json:"chunks"`
		FirstSetup   bool  `json:"firstSetup"`
		Domains      any   `json:"domains"`
		ReturnHTTPS  any   `json:"returnHttps"`
	}{
		OAuth: group{"bypassLocalLogin": raw("oauthBypassLocalLogin"), "loginOnly": raw("oauthLoginOnly")},
		OAuthEnabled: group{
			"discord": enabled("Discord"), "github": enabled("Github"), "google": enabled("Google"), "oidc": enabled("Oidc"),
		},
		Website: group{
			"loginBackground": raw("websiteLoginBackground"), "loginBackgroundBlur": raw("websiteLoginBackgroundBlur"),
			"title": raw("websiteTitle"), "tos": c.d.setting("websiteTos") != "",
		},
		Features:    group{"oauthRegistration": raw("featuresOauthRegistration"), "userRegistration": raw("featuresUserRegistration")},
		MFA:         group{"passkeys": raw("mfaPasskeysEnabled")},
		Files:       group{"maxFileSize": raw("filesMaxFileSize"), "defaultFormat": raw("filesDefaultFormat"), "maxExpiration": raw("filesMaxExpiration")},
		Chunks:      group{"max": raw("chunksMax"), "size": raw("chunksSize"), "enabled": raw("chunksEnabled")},
		Domains:     raw("domains"),
		ReturnHTTPS: raw("coreReturnHttpsUrls"),
	}, nil
}

// stats answers GET /api/user/stats: sums over what the caller owns.
func stats(c *call) (any, error) {
	var s struct {
		FilesUploaded  int            `json:"filesUploaded"`
		FavoriteFiles  int            `json:"favoriteFiles"`
		Views          number         `json:"views"`
		AvgViews       number         `json:"avgViews"`
		StorageUsed    number         `json:"storageUsed"`
		AvgStorageUsed number         `json:"avgStorageUsed"`
		URLsCreated    int            `json:"urlsCreated"`
		URLViews       number         `json:"urlViews"`
		SortTypeCount  map[string]int `json:"sortTypeCount"`
	}
	s.SortTypeCount = map[string]int{}
	for _, f := range where(c.d.files, func(f *fileRow) bool { return is(f.UserID, c.user.ID) }) {
		s.FilesUploaded++
		s.Views += f.Views
		s.StorageUsed += f.Size
		s.SortTypeCount[f.Type]++
		if f.Favorite {
			s.FavoriteFiles++
		}
	}
	if s.FilesUploaded > 0 {
		s.AvgViews, s.AvgStorageUsed = s.Views/number(s.FilesUploaded), s.StorageUsed/number(s.FilesUploaded)
	}
	for _, u := range where(c.d.urls, func(u *urlRow) bool { return is(u.UserID, c.user.ID) }) {
		s.URLsCreated++
		s.URLViews += u.Views
	}
	return s, nil
}
