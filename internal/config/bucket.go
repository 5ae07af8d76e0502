package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// ParseBucket reads s3://bucket or s3://bucket/prefix, as the command line has it; what is none is Usage.
func ParseBucket(text string) (Bucket, error) {
	rest, found := strings.CutPrefix(text, "s3://")
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	bad := func(segment string) bool { return segment == "" || segment == "." || segment == ".." }
	switch {
	case !found || !bucketName.MatchString(name) || strings.Contains(name, ".."):
		return Bucket{}, failure.New(failure.Usage, "%q is no bucket", text).
			WithHint("write s3://bucket or s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and .")
	case prefix != "" && slices.ContainsFunc(strings.Split(prefix, "/"), bad):
		return Bucket{}, failure.New(failure.Usage, "%q holds a segment that is empty, . or ..", text).WithHint("name the prefix without them")
	}
	return Bucket{Name: name, Prefix: prefix}, nil
}

var (
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/([\w+=,.@/-]{1,511}/)?[\w+=,.@-]{1,64}$`)
	externalID = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
)

const maxExternalID = 1224 // of STS, AssumeRole

// account reads whose bucket it is: the role that is assumed to reach it, and the account that it must belong to.
func (r *reader) account(t *table, b *Bucket) {
	role, id, owner := t.at("role"), t.at("external-id"), t.at("owner")
	b.Role, b.ExternalID, b.Owner = r.role(role), r.external(id), r.owner(owner)
	if role.absent() {
		if !id.absent() {
			r.problem(id, "needs a role beside it, which it is for")
		}
		return
	}
	for _, other := range []string{"profile", "access-key"} {
		if !t.at(other).absent() {
			r.problem(role, "can't stand beside %s; the role is assumed with what the AWS SDK finds", other)
		}
	}
	if b.Endpoint != "" && !ofAWS(b.Endpoint) {
		r.problem(role, "can't stand beside an endpoint that is not AWS's, which knows no roles")
	}
	if match := roleARN.FindStringSubmatch(b.Role); match != nil && owner.absent() {
		b.Owner = match[1]
	}
}

func (r *reader) role(v value) string {
	text := r.text(v)
	if text != "" && !roleARN.MatchString(text) {
		r.problem(v, "must be the ARN of a role, such as arn:aws:iam::111122223333:role/lifeboat-reader")
		return ""
	}
	return text
}

func (r *reader) external(v value) secret.Reference {
	ref := r.reference(v)
	if ref.Bare() && (len(ref) > maxExternalID || !externalID.MatchString(string(ref))) {
		r.problem(v, "must be 2 to %d of letters, digits and _+=,.@:/-", maxExternalID)
		return ""
	}
	return ref
}

func (r *reader) owner(v value) string {
	text := r.text(v)
	if text != "" && !IsAccount(text) {
		r.problem(v, "must be the 12 digits of an AWS account, such as \"111122223333\"")
		return ""
	}
	return text
}

// IsAccount reports whether a text is the 12 digits of an AWS account.
func IsAccount(text string) bool { return accountID.MatchString(text) }

// ofAWS reports whether an endpoint is one of S3 itself.
func ofAWS(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := "." + strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") || strings.HasSuffix(host, ".api.aws")
}
