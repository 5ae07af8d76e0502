package config

import _ "embed"

// Template is the commented lifeboat.yaml that `lifeboat init` writes. It parses without a warning.
//
//go:embed template.yaml
var Template string
