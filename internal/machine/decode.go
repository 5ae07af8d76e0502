package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a definition.
const maxDepth = 100

// bound is a string of the definition that held placeholders.
type bound struct {
	raw, value string
}

// decoder reads a definition: like encoding/json, but it refuses duplicate keys and binds placeholders.
type decoder struct {
	l    *loader
	src  []byte
	json *json.Decoder
}

// errStop ends the decoding after a syntax error, which is reported already.
var errStop = errors.New("stop")

// decodeDefinition returns the definition as a tree, or nil after reporting why it can't be read.
func (l *loader) decodeDefinition(src []byte) any {
	if !utf8.Valid(src) {
		l.report("$", "not UTF-8")
		return nil
	}
	d := &decoder{l: l, src: src, json: json.NewDecoder(bytes.NewReader(src))}
	d.json.UseNumber()
	v, err := d.value("$", 0)
	if err != nil {
		return nil
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		l.report("$", "more than one JSON value")
	}
	return v
}

func (d *decoder) token(path string) (json.Token, error) {
	t, err := d.json.Token()
	if err == nil {
		return t, nil
	}
	rest := bytes.TrimLeft(d.src[min(int(d.json.InputOffset()), len(d.src)):], " \t\r\n:,")
	if bytes.HasPrefix(rest, []byte("${")) {
		d.l.report(path, "a placeholder outside of a JSON string")
	} else {
		d.l.report(path, "not JSON near byte %d: %v", d.json.InputOffset(), err)
	}
	return nil, errStop
}

func (d *decoder) value(path string, depth int) (any, error) {
	t, err := d.token(path)
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		d.l.report(path, "nested more than %d deep", maxDepth)
		return nil, errStop
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return d.object(path, depth)
		}
		return d.array(path, depth)
	case string:
		return d.bind(path, t), nil
	}
	return t, nil
}

func (d *decoder) object(path string, depth int) (any, error) {
	object := map[string]any{}
	for d.json.More() {
		t, err := d.token(path)
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		below := join(path, key)
		if strings.Contains(key, "${") {
			d.l.report(below, "a placeholder in a name")
		}
		v, err := d.value(below, depth+1)
		if err != nil {
			return nil, err
		}
		if _, ok := object[key]; ok {
			d.l.report(below, "the name appears twice")
		}
		object[key] = v
	}
	_, err := d.token(path)
	return object, err
}

func (d *decoder) array(path string, depth int) (any, error) {
	list := []any{}
	for d.json.More() {
		v, err := d.value(fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.token(path)
	return list, err
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9_.]+)\}`)

// bind does what CloudFormation's DefinitionSubstitutions do.
func (d *decoder) bind(path, s string) any {
	if !strings.Contains(s, "${") {
		return s
	}
	if strings.Count(s, "${") != len(placeholder.FindAllString(s, -1)) {
		d.l.report(path, "%q is not a placeholder: write ${Name}", s)
	}
	value := placeholder.ReplaceAllStringFunc(s, func(p string) string {
		name := p[2 : len(p)-1]
		v, ok := d.l.bind[name]
		if !ok {
			d.l.report(path, "placeholder %s has no value", p)
		}
		d.l.used[name] = true
		return v
	})
	return bound{s, value}
}

// join returns the path of a key below path.
func join(path, key string) string {
	if key != "" && nameLength(key) == len(key) {
		return path + "." + key
	}
	return path + "['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(key) + "']"
}
