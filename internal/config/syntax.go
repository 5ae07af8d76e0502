package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// decode returns the root of the file's only document, or what keeps it from being YAML.
func decode(data []byte) (value, []Problem) {
	if problems := foreign(data); problems != nil {
		return value{}, problems
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return value{line: 1}, nil
	case err != nil:
		return value{}, syntax(data, err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return value{}, []Problem{{Line: second.Line, Message: "a second document starts here; the file must be one"}}
	case !errors.Is(err, io.EOF):
		return value{}, syntax(data, err)
	}
	return value{line: 1, node: follow(document.Content[0])}, nil
}

// foreign reports the lines that are no text.
func foreign(data []byte) []Problem {
	var problems []Problem
	for i, line := range bytes.Split(data, []byte("\n")) {
		control := bytes.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' && c != '\r' || c == 0x7f })
		switch {
		case !utf8.Valid(line):
			problems = append(problems, Problem{Line: i + 1, Message: "the line is not UTF-8"})
		case control:
			problems = append(problems, Problem{Line: i + 1, Message: "the line holds a control character"})
		}
	}
	return problems
}

var yamlLine = regexp.MustCompile(`^(?:line (\d+): )?(.*)`)

// syntax turns the parser's error into problems. No message holds text of the file: it may be a secret.
func syntax(data []byte, err error) []Problem {
	if tabs := indentedByTab(data); tabs != nil {
		return tabs
	}
	match := yamlLine.FindStringSubmatch(strings.TrimPrefix(err.Error(), "yaml: "))
	line, message := 1, match[2]
	if n, err := strconv.Atoi(match[1]); err == nil {
		line = n
	}
	if name, found := strings.CutPrefix(message, "unknown anchor '"); found {
		name, _, _ = strings.Cut(name, "'")
		before, _, _ := bytes.Cut(data, []byte("*"+name))
		return []Problem{{Line: 1 + bytes.Count(before, []byte("\n")), Message: "put a value that starts with * in quotes"}}
	}
	return []Problem{{Line: line, Message: "this is not YAML: " + message}}
}

func indentedByTab(data []byte) []Problem {
	var problems []Problem
	for i, line := range bytes.Split(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if bytes.Contains(indent, []byte("\t")) && len(bytes.TrimSpace(line)) > 0 {
			problems = append(problems, Problem{Line: i + 1, Message: "the line is indented by a tab; use spaces"})
		}
	}
	return problems
}
