package zipline

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// partWriter writes the parts of an export one after the other, row by row: lists or, in format 3, objects.
type partWriter struct {
	*bufio.Writer
	brackets string          // "[]" or "{}"
	going    string          // the part that is being written; "" between two
	rows     int             // of it
	begun    map[string]bool // parts
}

func newPartWriter(w io.Writer, brackets string) *partWriter {
	return &partWriter{Writer: bufio.NewWriterSize(w, 64<<10), brackets: brackets, begun: map[string]bool{}}
}

// open begins a part and ends the one before it; false where it is the one that is being written.
func (w *partWriter) open(part string) bool {
	if w.going == part {
		return false
	}
	w.shut()
	w.going, w.rows, w.begun[part] = part, 0, true
	w.text(`,"` + part + `":` + w.brackets[:1])
	return true
}

// shut ends the part that is being written.
func (w *partWriter) shut() {
	if w.going != "" {
		w.text(w.brackets[1:])
	}
	w.going = ""
}

// put writes a row; key is its name in an object, "" in a list.
func (w *partWriter) put(key string, row any) error {
	if w.rows > 0 {
		w.text(`,`)
	}
	w.rows++
	if key != "" {
		if err := w.value(key); err != nil {
			return err
		}
		w.text(`:`)
	}
	return w.value(row)
}

func (w *partWriter) text(s string) { _, _ = w.WriteString(s) } // Flush returns its error

func (w *partWriter) value(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write a row of an export: %w", err)
	}
	_, err = w.Write(text)
	return err
}
