package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// maxData is what Step Functions allows for an input, a result or an output: 256 KiB of UTF-8 JSON.
const maxData = 262_144

// decode reads one JSON value; numbers keep their digits.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// encode writes a value that decode or the runner made; keys are sorted, so equal values are equal bytes.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a value: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// text is encode for messages.
func text(v any) string {
	raw, err := encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// checkSize applies the 256 KiB limit to a value of a state and returns its bytes.
func checkSize(state, what string, v any) (json.RawMessage, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxData {
		return nil, &fault{nameDataLimit, fmt.Sprintf("The state/task '%s' has %s of %d bytes, which exceeds the maximum number of bytes service limit of %d.", state, what, len(raw), maxData)}
	}
	return raw, nil
}

// sameJSON compares two JSON texts by structure.
func sameJSON(a, b json.RawMessage) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
