package zipline

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"lifeboat/internal/failure"
)

// Export is the path of the server export in an archive.
const Export = document

// Exporter returns the name of the user whose token made an export. It reads no further than it must: the request stands
// before the data.
func Exporter(export io.Reader) (string, error) {
	d := json.NewDecoder(export)
	if _, err := d.Token(); err != nil {
		return "", noExporter(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", noExporter(err)
		}
		if key == "data" {
			break
		}
		var value struct {
			User string `json:"user"`
		}
		if key != "request" {
			err = d.Decode(new(any))
		} else {
			err = d.Decode(&value)
		}
		if err != nil {
			return "", noExporter(err)
		}
		if _, name, ok := strings.Cut(value.User, ":"); ok && name != "" {
			return name, nil
		}
	}
	return "", failure.New(failure.Invalid, "the export does not say who made it")
}

func noExporter(err error) error {
	if failure.KindOf(err) != failure.Internal { // who reads it knows more
		return fmt.Errorf("read the export: %w", err)
	}
	return failure.New(failure.Invalid, "the export cannot be read: %w", err)
}
