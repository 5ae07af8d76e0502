package deployment_test

import (
	"fmt"
	"strings"
	"testing"

	"lifeboat/internal/failure"
)

// TestGranted: what no policy of IAM can name is refused by name; what it can is escaped by the stack.
func TestGranted(t *testing.T) {
	for path, want := range map[string]string{
		"s3://data/архив/2026": "'а' (U+0430)",
		"s3://data/日本":         "'日' (U+65E5)",
		"s3://data/cafe\u0301": "(U+0301)",
		"{s3: s3://data/x, access-key: \"secretsmanager:zip*line#a?b\", secret-key: ssm:/b}": "a secret whose name has the character *",
		"{s3: s3://data/x, access-key: \"secretsmanager:zipline#a?b\", secret-key: ssm:/b}":  "",
		"s3://data/café/a*b/${x}/why?":                                                                       "",
		"{s3: s3://data/архив, role: \"arn:aws:iam::444455556666:role/r\"}":                                  "",
		"{s3: s3://data/архив, endpoint: https://store.example.org, access-key: ssm:/a, secret-key: ssm:/b}": "",
		"{s3: s3://data/x, access-key: ssm:/ключ, secret-key: ssm:/b}":                                       "a secret whose name has the character 'к' (U+043A)",
	} {
		if !strings.HasPrefix(path, "{") {
			path = fmt.Sprintf("%q", path)
		}
		for _, section := range []string{"sources: {a: {kind: files, path: %s}}\n", "sources: {b: {kind: files, path: s3://bucket}}\ntargets: {a: {kind: files, path: %s}}\n"} {
			_, err := parse(t, "vault: ./v\n"+fmt.Sprintf(section, path))
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %v", path, err)
			case want != "" && (!strings.Contains(fmt.Sprint(err), want) || failure.HintOf(err) == ""):
				t.Errorf("%s: %v, hint %q", path, err, failure.HintOf(err))
			}
		}
	}
}
