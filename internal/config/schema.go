package config

import (
	"encoding/json"
	"maps"
	"slices"
)

// Schema returns the JSON Schema (draft 2020-12) of lifeboat.yaml, for editors. It is made of the same lists of keys
// that the parser uses. What it cannot say (that folders lie apart, that secrets resolve) the parser and
// `lifeboat doctor` check.
func Schema() []byte {
	var kinds, targets []any
	for _, kind := range Kinds {
		kinds, targets = append(kinds, sourceSchema(kind)), append(targets, targetSchema(kind))
	}
	schema := object(map[string]any{
		"vault":     location("where everything is kept: a folder, or a bucket"),
		"state-dir": text("journals and the signing key; outside of the vault"),
		"sources":   named("the applications to back up", map[string]any{"oneOf": kinds}),
		"targets":   named("what a restore may write to, by name", map[string]any{"oneOf": targets}),
		"fetch": object(map[string]any{
			"allow":    oneOrMany(text("host, host:port or http://host:port")),
			"max-size": text("of a fetched archive, such as 500GiB"), "timeout": text("of one request: 90m, 6h"),
		}),
		"deploy": deployShape.schema(),
		"serve":  object(map[string]any{"listen": text("host:port"), "public-url": text("how others reach it")}),
		"mail":   object(map[string]any{"from": text("an address"), "smtp": text("smtp:// or smtps://, or a reference to one")}, "from", "smtp"),
	}, "vault")
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "lifeboat.yaml"
	data, _ := json.MarshalIndent(schema, "", "  ") // cannot fail: maps, slices and text
	return append(data, '\n')
}

func object(properties map[string]any, required ...string) map[string]any {
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func text(description string) map[string]any {
	return map[string]any{"type": "string", "description": description}
}

func list(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

func oneOrMany(item map[string]any) map[string]any {
	return map[string]any{"oneOf": []any{item, list(item)}}
}

func named(description string, item map[string]any) map[string]any {
	return map[string]any{
		"type": []string{"object", "null"}, "description": description, "additionalProperties": item,
		"propertyNames": map[string]any{"pattern": sourceName.String()},
	}
}

func location(description string) map[string]any {
	return placed(description, bucketKeys)
}

// filesLocation is a location that may belong to somebody else.
func filesLocation(description string) map[string]any {
	return placed(description, slices.Concat(bucketKeys, accountKeys))
}

func placed(description string, keys []string) map[string]any {
	all := map[string]any{
		"s3": text("s3://bucket/prefix"), "endpoint": text("URL of a store that is not AWS"), "region": text("of the bucket"),
		"profile": text("of the AWS configuration"), "access-key": text("or a reference"), "secret-key": text("a reference"),
		"role": text("ARN of a role that is assumed"), "external-id": text("of the role's trust policy, or a reference"),
		"owner": map[string]any{"type": []string{"string", "integer"}, "description": "account of the bucket, in 12 digits"},
	}
	maps.DeleteFunc(all, func(key string, _ any) bool { return !slices.Contains(keys, key) })
	return map[string]any{"description": description, "oneOf": []any{text("a path, or s3://bucket/prefix"), object(all, "s3")}}
}

// values says what may stand at each key of a source.
func values() map[string]map[string]any {
	return map[string]map[string]any{
		"url":          text("of the application"),
		"token":        text("env:NAME, file:PATH, secretsmanager:…, ssm:…"),
		"datasource":   filesLocation("where the application keeps its files"),
		"metrics":      {"type": "boolean", "description": "whether statistics are backed up"},
		"config-files": list(text("a file to keep as a secret document")),
		"data":         text("linkding's data folder"),
		"path":         filesLocation("the folder or bucket"),
		"include":      list(text("what is backed up")),
		"exclude":      list(text("what is left out")),
		"prefer":       {"enum": []any{"cost", "speed"}, "description": "what counts more"},
		"split":        text("size of a volume of the archive, such as 4GiB"),
		"archive": {"description": "when the archive is made, and how long it is kept", "oneOf": []any{
			map[string]any{"enum": []any{"always", "on-demand"}}, object(map[string]any{"keep": text("7d, 12h")}, "keep"),
		}},
	}
}

// required names the keys that a source of each kind must have; a target has them and no others but notify.
var required = map[string][]string{
	"zipline": {"url", "token", "datasource"}, "linkding": {"data"}, "files": {"path"},
}

func sourceSchema(kind string) map[string]any {
	properties := map[string]any{
		"kind":   map[string]any{"const": kind},
		"notify": notifySchema(),
		"link":   object(map[string]any{"code": map[string]any{"description": "whether a download asks for a code", "enum": []any{true, false, "on", "off"}}}),
	}
	for _, key := range slices.Concat(keys[kind], everyKind) {
		properties[key] = values()[key]
	}
	return object(properties, slices.Concat([]string{"kind"}, required[kind])...)
}

func targetSchema(kind string) map[string]any {
	properties := map[string]any{"kind": map[string]any{"const": kind}, "notify": notifySchema()}
	for _, key := range required[kind] {
		properties[key] = values()[key]
	}
	return object(properties, slices.Concat([]string{"kind"}, required[kind])...)
}

func notifySchema() map[string]any {
	return object(map[string]any{
		"to": oneOrMany(text("an address")),
		"on": map[string]any{"enum": []When{OnAlways, OnProblem, OnChange}},
	}, "to")
}
