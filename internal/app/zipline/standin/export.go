package standin

import "encoding/json"

// Export is a server export of format 4, with its keys in Zipline's order. Rows stay as they are.
type Export struct {
	Versions json.RawMessage `json:"versions"`
	Request  Request         `json:"request"`
	Data     Data            `json:"data"`
}

// Request says who made an export, when and where.
type Request struct {
	User string          `json:"user"`
	Date string          `json:"date"`
	OS   json.RawMessage `json:"os"`
	Env  json.RawMessage `json:"env"`
}

// Data holds the rows of an export.
type Data struct {
	Settings           json.RawMessage   `json:"settings"`
	Users              []json.RawMessage `json:"users"`
	UserPasskeys       []json.RawMessage `json:"userPasskeys"`
	UserQuotas         []json.RawMessage `json:"userQuotas"`
	UserOauthProviders []json.RawMessage `json:"userOauthProviders"`
	UserTags           []json.RawMessage `json:"userTags"`
	Invites            []json.RawMessage `json:"invites"`
	Folders            []json.RawMessage `json:"folders"`
	URLs               []json.RawMessage `json:"urls"`
	Files              []json.RawMessage `json:"files"`
	Thumbnails         []json.RawMessage `json:"thumbnails"`
	Metrics            []json.RawMessage `json:"metrics"`
}

// Counts is what Zipline answers to counts=true.
type Counts struct {
	Users      int `json:"users"`
	Files      int `json:"files"`
	URLs       int `json:"urls"`
	Folders    int `json:"folders"`
	Invites    int `json:"invites"`
	Thumbnails int `json:"thumbnails"`
	Metrics    int `json:"metrics"`
}

// Counts counts as Zipline does: whole tables, and so ownerless URLs too.
func (e *Export) Counts(ownerlessURLs int) Counts {
	return Counts{
		Users: len(e.Data.Users), Files: len(e.Data.Files), URLs: len(e.Data.URLs) + ownerlessURLs,
		Folders: len(e.Data.Folders), Invites: len(e.Data.Invites), Thumbnails: len(e.Data.Thumbnails),
		Metrics: len(e.Data.Metrics),
	}
}
