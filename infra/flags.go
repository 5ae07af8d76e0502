package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// settings is what the cdk command line reads, too: with the same flags a test, `go run` and `cdk` make the same template.
//
//go:embed cdk.json
var settings []byte

// flags returns the feature flags of CDK.
func flags() *map[string]any {
	var file struct {
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(settings, &file); err != nil {
		panic(fmt.Sprintf("cdk.json: %v", err))
	}
	return &file.Context
}
