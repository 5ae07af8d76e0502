package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// template is a CloudFormation template.
type template struct {
	text      []byte
	Resources map[string]resource
	Outputs   map[string]map[string]any
}

type resource struct {
	Type                string
	Properties          map[string]any
	DeletionPolicy      string
	UpdateReplacePolicy string
	DependsOn           any
}

// of returns the ids of all resources of a type, sorted.
func (t template) of(kind string) []string {
	var ids []string
	for id, r := range t.Resources {
		if r.Type == kind {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// one returns the resource whose id is name, or name with the digest that CDK puts behind it.
func (t template) one(kind, name string) resource {
	for _, id := range t.of(kind) {
		if plainID(id) == name {
			return t.Resources[id]
		}
	}
	return resource{}
}

var digest = regexp.MustCompile(`[0-9A-F]{8}$`)

func plainID(id string) string { return digest.ReplaceAllString(id, "") }

// text writes a value of a template in one line: ${Vault.Arn}/packs/*.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []any:
		return strings.Join(texts(v), ",")
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			return function(key, v)
		}
	}
	return fmt.Sprint(value)
}

func function(key string, v map[string]any) string {
	switch key {
	case "Ref":
		return "${" + plainID(v[key].(string)) + "}"
	case "Fn::GetAtt":
		parts := texts(v[key])
		return "${" + plainID(parts[0]) + "." + strings.Join(parts[1:], ".") + "}"
	case "Fn::Sub":
		return text(v[key])
	case "Fn::Join":
		parts := v[key].([]any)
		return strings.Join(texts(parts[1]), parts[0].(string))
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		pairs = append(pairs, name+"="+text(v[name]))
	}
	return strings.Join(pairs, " ")
}

// texts is text of each value of a list; a value that is no list is a list of one.
func texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		return []string{text(value)}
	}
	var all []string
	for _, v := range list {
		all = append(all, text(v))
	}
	return all
}

// at walks into a value; what is not there is nil.
func at(value any, path ...string) any {
	for _, name := range path {
		m, _ := value.(map[string]any)
		value = m[name]
	}
	return value
}
