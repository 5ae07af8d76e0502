package deployment

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Keys of the tags that all of the stack has. The budget counts by the first.
const (
	StackTag   = "lifeboat:stack"
	ServiceTag = "service"
)

// mostTags is how many tags something of AWS may have.
const mostTags = 50

// tagText is what IAM takes as a key or a value of a tag; other services take no less.
var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// tags refuses what AWS does not take as a tag, and what would take the place of a tag of the stack's own. To IAM keys that
// differ in case only are the same.
func (r *reader) tags(tags map[string]string) {
	var before []string
	for _, key := range sorted(tags) {
		lower, text := strings.ToLower(key), tags[key]
		switch {
		case lower == StackTag || lower == ServiceTag:
			r.wrong("tags", "holds %q, which the stack sets itself: the budget counts by it", key)
		case key == "" || utf8.RuneCountInString(key) > 128 || strings.HasPrefix(lower, "aws:") || !tagText.MatchString(key):
			r.wrong("tags", "holds %.40q, which AWS does not take: letters, digits, spaces and _ . : / = + - @, 1 to 128 of them, and no aws: before", key)
		case utf8.RuneCountInString(text) > 256 || !tagText.MatchString(text):
			r.wrong("tags", "holds %.40q with a value that AWS does not take: letters, digits, spaces and _ . : / = + - @, 256 of them at most", key)
		case slices.Contains(before, lower):
			r.wrong("tags", "holds %.40q twice: AWS sees no difference in case", key)
		}
		before = append(before, lower)
	}
	if own := len([]string{StackTag, ServiceTag}); len(tags)+own > mostTags {
		r.wrong("tags", "holds %d, and AWS takes %d beside the stack's own", len(tags), mostTags-own)
	}
}
