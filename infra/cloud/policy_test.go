package cloud

import (
	"fmt"
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a/*", "a/b/c", true},
		{"a/?", "a/b", true},
		{"a/?", "a/bc", false},
		{"a", "ab", false},
		{"a.c", "abc", false},
		{"a${*}b/*", "a*b/c", true},
		{"a${*}b/*", "aXb/c", false},
		{"w${?}/*", "w?/c", true},
		{"w${?}/*", "wX/c", false},
		{"${$}{AWS::AccountId}/*", "${AWS::AccountId}/c", true},
		{"${$}{*}", "${*}", true},
		{"${$}{*}", "*", false},
	} {
		if got := Like(c.pattern, c.text); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.text, got)
		}
	}
}

// TestTaken: IAM takes policies of Latin-1 only, and of a size.
func TestTaken(t *testing.T) {
	policy := func(resource, condition string) any {
		return map[string]any{"Statement": []any{map[string]any{
			"Effect": "Allow", "Action": "s3:GetObject", "Resource": []any{resource},
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:ResourceAccount": condition}},
		}}}
	}
	for _, c := range []struct{ resource, condition, want string }{
		{"arn:aws:s3:::data/café/${*}/${$}{x}/*", Account, ""},
		{"arn:aws:s3:::data/архив/*", Account, "U+0430"},
		{"arn:aws:s3:::data/日本/*", Account, "U+65E5"},
		{"arn:aws:s3:::data/a\x00/*", Account, "U+0000"},
		{"arn:aws:s3:::data/${aws:username}/*", Account, "a variable"},
		{"arn:aws:s3:::data/*", "счёт", "a condition of Role"},
	} {
		if _, err := statements("Role", policy(c.resource, c.condition)); err == nil != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%q: %v", c.resource, err)
		}
	}
	if err := sized("Role", policy("arn:aws:s3:::"+strings.Repeat("a", 5000), ""), mostManaged); err != nil {
		t.Error(err)
	}
	if err := sized("Role", policy("arn:aws:s3:::"+strings.Repeat("a", 6144), ""), mostManaged); err == nil {
		t.Error("a policy of any size is taken")
	}
}
