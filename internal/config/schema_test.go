package config_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"lifeboat/internal/config"
)

// TestSchema holds the published schema against the parser: what one takes the other takes, and what one refuses for
// its shape the other refuses.
func TestSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("lifeboat.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("lifeboat.json")
	if err != nil {
		t.Fatal(err)
	}
	const zipline = "  p: {kind: zipline, url: http://h, token: env:T, datasource: ./u"
	for text, good := range map[string]bool{
		config.Template: true,
		"vault: ./v":    true,
		"vault: {s3: s3://bucket, endpoint: http://127.0.0.1:9000}":                                                                    true,
		"vault: ./v\nsources:\n" + zipline + ", metrics: false, notify: {to: [a@b.de]}}":                                               true,
		"vault: ./v\nsources:\n  l: {kind: linkding, data: ./d, include: [assets]}":                                                    true,
		"vault: ./v\nsources:\n  f: {kind: files, path: ./d, exclude: ['*.tmp']}":                                                      true,
		"vault: ./v\nsources:\n  f: {kind: files, path: {s3: s3://bucket}}":                                                            true,
		"vault: ./v\nsources:\n  f: {kind: files, path: ./d, token: env:T}":                                                            false,
		"vault: ./v\nsources:\n  f: {kind: files, path: {s3: s3://bucket, role: 'arn:aws:iam::111122223333:role/r', external-id: x1}}": true,
		"vault: ./v\ntargets:\n  f: {kind: files, path: {s3: s3://bucket, owner: 111122223333}}":                                       true,
		"vault: {s3: s3://bucket, owner: '111122223333'}":                                                                              false,
		"vault: ./v\nsources:\n  l: {kind: linkding}":                                                                                  false,
		"vault: ./v\nsources:\n  l: {kind: squid, path: ./d}":                                                                          false,
		"vault: ./v\nsources:\n" + zipline + ", metrics: maybe}":                                                                       false,
		"vault: ./v\nsources:\n" + zipline + ", notify: {to: a@b.de, on: sometimes}}":                                                  false,
		"vault: ./v\nsources:\n  UPPER: {kind: files, path: ./d}":                                                                      false,
		"vault: ./v\ntargets:\n" + zipline + ", notify: {to: [a@b.de]}}":                                                               true,
		"vault: ./v\ntargets:\n  l: {kind: linkding, data: ./d}":                                                                       true,
		"vault: ./v\ntargets:\n  f: {kind: files, path: s3://bucket/x}":                                                                true,
		"vault: ./v\ntargets:\n" + zipline + ", metrics: false}":                                                                       false,
		"vault: ./v\ntargets:\n  l: {kind: linkding, data: ./d, include: [assets]}":                                                    false,
		"vault: ./v\ntargets:\n  f: {kind: files, data: ./d}":                                                                          false,
		"vault: ./v\nfetch: {allow: [nas.lan], max-size: 1GiB, timeout: 90m}":                                                          true,
		"vault: ./v\nfetch: {allow: nas.lan}":                                                                                          true,
		"vault: ./v\nfetch: {hosts: nas.lan}":                                                                                          false,
		"sources: {}":                                                                                                                  false,
		"vault: ./v\nserf: {}":                                                                                                         false,
		"vault: {endpoint: http://h}":                                                                                                  false,
		"vault: ./v\nmail: {smtp: smtp://h}":                                                                                           false,
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		_, parseErr := config.Parse("f", []byte(text), "/base")
		if err := schema.Validate(instance); (err == nil) != good || (parseErr == nil) != good {
			t.Errorf("%s\nwanted good=%v; schema: %v; parser: %v", text, good, err, parseErr)
		}
	}
}
