package standin

import (
	"encoding/json"
	"math"
	"strconv"
)

// rows of the tables, with their exported keys in Zipline's order; null is written, never left out. What is not exported
// has no tag. Times are written as JavaScript does, in UTC, so that they sort as text.
type (
	// base begins every row. Where updated is not kept it is "".
	base struct {
		ID        string `json:"id"`
		CreatedAt string `json:"createdAt"`
		updated   string
	}
	userRow struct {
		base
		Username   string          `json:"username"`
		Password   *string         `json:"password"`
		Avatar     *string         `json:"avatar"`
		Role       string          `json:"role"`
		View       json.RawMessage `json:"view"`
		TOTPSecret *string         `json:"totpSecret"`

		token string
	}
	passkeyRow struct {
		base
		LastUsed *string         `json:"lastUsed"`
		Name     string          `json:"name"`
		Reg      json.RawMessage `json:"reg"`
		UserID   string          `json:"userId"`
	}
	quotaRow struct {
		base
		FilesQuota string  `json:"filesQuota"`
		MaxBytes   *string `json:"maxBytes"`
		MaxFiles   *number `json:"maxFiles"`
		MaxURLs    *number `json:"maxUrls"`
		UserID     *string `json:"userId"`
	}
	oauthRow struct {
		base
		Provider     string  `json:"provider"`
		Username     string  `json:"username"`
		AccessToken  string  `json:"accessToken"`
		RefreshToken *string `json:"refreshToken"`
		OauthID      maybe   `json:"oauthId"`
		UserID       string  `json:"userId"`
	}
	tagRow struct {
		base
		Name   string   `json:"name"`
		Color  *string  `json:"color"`
		Files  []string `json:"files"`
		UserID *string  `json:"userId"`
	}
	inviteRow struct {
		base
		ExpiresAt *string `json:"expiresAt"`
		Code      string  `json:"code"`
		Uses      number  `json:"uses"`
		MaxUses   *number `json:"maxUses"`
		InviterID string  `json:"inviterId"`
	}
	folderRow struct {
		base
		Name         string   `json:"name"`
		Public       bool     `json:"public"`
		AllowUploads bool     `json:"allowUploads"`
		Files        []string `json:"files"` // made for an export, from the files' FolderID
		UserID       string   `json:"userId"`
		ParentID     *string  `json:"parentId"`
	}
	urlRow struct {
		base
		Code        string  `json:"code"`
		Vanity      *string `json:"vanity"`
		Destination string  `json:"destination"`
		Views       number  `json:"views"`
		MaxViews    *number `json:"maxViews"`
		Password    *string `json:"password"`
		Enabled     bool    `json:"enabled"`
		UserID      *string `json:"userId"`
	}
	fileRow struct {
		base
		DeletesAt    *string `json:"deletesAt"`
		Name         string  `json:"name"`
		OriginalName *string `json:"originalName"`
		Size         number  `json:"size"`
		Type         string  `json:"type"`
		Views        number  `json:"views"`
		MaxViews     *number `json:"maxViews"`
		Favorite     bool    `json:"favorite"`
		Password     *string `json:"password"`
		UserID       *string `json:"userId"`
		FolderID     *string `json:"folderId"`

		anonymous bool
	}
	thumbnailRow struct {
		base
		Path   string `json:"path"`
		FileID string `json:"fileId"`
	}
	metricRow struct {
		base
		Data json.RawMessage `json:"data"`
	}
)

func (b *base) common() *base { return b }

// row is a pointer to a row of any table.
type row interface{ common() *base }

// number is a number as JavaScript has it.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(n), 'f', -1, 64), nil
}

// whole reports whether a column of whole numbers of at most limit takes n.
func (n number) whole(limit float64) bool {
	return float64(n) == math.Trunc(float64(n)) && math.Abs(float64(n)) <= limit
}

// maybe is a text that is null, or not there at all, which an import tells apart.
type maybe struct {
	given bool
	text  *string
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *maybe) UnmarshalJSON(data []byte) error {
	m.given = true
	return json.Unmarshal(data, &m.text)
}

// MarshalJSON implements json.Marshaler.
func (m maybe) MarshalJSON() ([]byte, error) { return json.Marshal(m.text) }
