package restore

import (
	"encoding/json"
	"unicode/utf8"
)

// storedItem is an Item in a plan. JSON has text only, and the names of a folder of kind files are any bytes: those that
// are no text stand beside what JSON makes of them.
type storedItem struct {
	plainItem
	Bytes []byte `json:"key_bytes,omitempty"`
}

type plainItem Item

// MarshalJSON implements json.Marshaler.
func (i Item) MarshalJSON() ([]byte, error) {
	stored := storedItem{plainItem: plainItem(i)}
	if !utf8.ValidString(i.Key) {
		stored.Bytes = []byte(i.Key)
	}
	return json.Marshal(stored)
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *Item) UnmarshalJSON(data []byte) error {
	var stored storedItem
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	if stored.Bytes != nil {
		stored.Key = string(stored.Bytes)
	}
	*i = Item(stored.plainItem)
	return nil
}
