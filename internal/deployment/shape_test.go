package deployment

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
)

type schema struct {
	Properties map[string]schema `json:"properties"`
	Each       json.RawMessage   `json:"additionalProperties"`
}

// TestShape: what package config takes and publishes as the section is what is decoded of it.
func TestShape(t *testing.T) {
	var whole schema
	if err := json.Unmarshal(config.Schema(), &whole); err == nil || len(whole.Properties) == 0 {
		if err != nil {
			t.Fatal(err)
		}
	}
	decoded := fields("", reflect.TypeFor[file]().Field(0).Type)
	if len(decoded) < 30 {
		t.Fatalf("only %d keys were found", len(decoded))
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(decoded)), slices.Sorted(slices.Values(whole.Properties["deploy"].paths("")))); diff != "" {
		t.Errorf("(-decoded +schema):\n%s", diff)
	}
}

func (s schema) paths(at string) (all []string) {
	var each schema
	if json.Unmarshal(s.Each, &each) == nil && len(each.Properties) > 0 {
		return each.paths(at + "*.")
	}
	for _, name := range slices.Collect(maps.Keys(s.Properties)) {
		all = append(all, at+name)
		all = append(all, s.Properties[name].paths(at+name+".")...)
	}
	return all
}

func fields(at string, t reflect.Type) (all []string) {
	switch t.Kind() {
	case reflect.Pointer:
		return fields(at, t.Elem())
	case reflect.Map:
		return fields(at+"*.", t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	for f := range t.Fields() {
		name := f.Tag.Get("yaml")
		if strings.HasPrefix(name, ",inline") {
			all = append(all, fields(at, f.Type)...)
			continue
		}
		all = append(all, at+name)
		all = append(all, fields(at+name+".", f.Type)...)
	}
	return all
}
