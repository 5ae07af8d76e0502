package deployment

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// granted refuses what an instance names and no policy of IAM can: its characters are those of Latin-1. Others could be
// written as wildcards only, which let through more than was asked for. No secret's name has a wildcard.
func (r *reader) granted(path, who string, i config.Instance) {
	b := i.Datasource.Bucket
	if b != nil && ReachedByRole(b) {
		if c := foreign(b.Prefix); c != "" {
			r.refuse(path, []error{failure.New(failure.Usage, "the %s: no right can be given on %q, whose prefix has the character %s", who, b.String(), c).
				WithHint("IAM takes the characters U+0020 to U+00FF only; name a prefix of Latin letters, or a role: of the bucket's owner, which is assumed")})
		}
	}
	references := []secret.Reference{i.Token}
	if b != nil {
		references = append(references, b.AccessKey, b.SecretKey, b.ExternalID)
	}
	for _, reference := range references {
		if c := cmp.Or(foreign(string(reference)), pattern(reference)); c != "" && !reference.Bare() {
			r.refuse(path, []error{failure.New(failure.Usage, "the %s: no right can be given on a secret whose name has the character %s", who, c).
				WithHint("names of secrets and parameters have a-z, A-Z, 0-9 and / _ + = . @ - only")})
		}
	}
}

// pattern returns the first character of a reference that a policy would take for a pattern or a variable, "" for none.
func pattern(reference secret.Reference) string {
	name, _, _ := strings.Cut(string(reference), "#")
	if n := strings.IndexAny(name, "*?$"); n >= 0 {
		return name[n : n+1]
	}
	return ""
}

// foreign returns the first character of a text that a policy can't hold, "" for none.
func foreign(text string) string {
	n := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > 0xFF })
	if n < 0 {
		return ""
	}
	c, _ := utf8.DecodeRuneInString(text[n:])
	return fmt.Sprintf("%q (%U)", c, c)
}
