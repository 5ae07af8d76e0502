package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
)

// Foreign is one version of an object of the vault's store, in any bucket of it.
type Foreign struct {
	Bucket string
	Key    string
	ETag   string // "": whatever is there
	Owner  string // the account that the bucket must belong to; "": any
}

// ErrArchived is in the tree of an error about an object that its store has archived (Glacier): it must be restored
// before it can be read or copied.
var ErrArchived = errors.New("it lies in an archive class of its store")

// CopyPartFrom writes one part by a server-side copy of a range of an object that need not be the vault's. No byte
// passes through this process. NotFound when the object is gone, Conflict when there is another version of it, Corrupt
// when it does not reach so far, Denied when the vault's credentials may not read it or the store does not know its
// bucket, Invalid when the store does not copy like this. An object of 5 MiB or less has no ranges (S3 API reference,
// UploadPartCopy).
func (v *Vault) CopyPartFrom(ctx context.Context, u Upload, number int, from Foreign, offset, length int64) (Part, error) {
	part, err := v.copyPart(ctx, u, number, from, offset, length)
	return part, foreign(err, "copy part %d of %s from %q in the bucket %s", number, u.Key, from.Key, from.Bucket)
}

// OpenFrom reads length bytes from offset on, of an object that need not be the vault's. Its errors are those of
// CopyPartFrom; it is Invalid too where the bucket lies in another region, from which a store may well copy. The caller
// closes the body.
func (v *Vault) OpenFrom(ctx context.Context, from Foreign, offset, length int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &from.Bucket, Key: &from.Key, Range: byteRange(offset, length)}
	if from.ETag != "" {
		in.IfMatch = &from.ETag
	}
	if from.Owner != "" {
		in.ExpectedBucketOwner = &from.Owner
	}
	out, err := v.client.GetObject(ctx, in)
	if err != nil {
		return nil, foreign(err, "read %q in the bucket %s", from.Key, from.Bucket)
	}
	if n := aws.ToInt64(out.ContentLength); n != length {
		out.Body.Close()
		return nil, failure.New(failure.Corrupt, "read %q in the bucket %s: it ends %d bytes before %d", from.Key, from.Bucket, length-n, offset+length)
	}
	return &body{out.Body, Key(from.Key)}, nil
}

// foreign gives an error of the store its kind where the vault is not the only party.
func foreign(err error, format string, args ...any) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return wrap(err, format, args...)
	}
	doing := fmt.Sprintf(format, args...)
	switch api.ErrorCode() {
	case "NoSuchBucket":
		return failure.New(failure.Denied, "%s: %w", doing, said{err})
	case "NoSuchUpload": // somebody has given it up
		return failure.New(failure.Transient, "%s: %w", doing, said{err})
	case "InvalidObjectState":
		return failure.New(failure.Denied, "%s: %w", doing, ErrArchived)
	case "NotImplemented", "MethodNotAllowed", "InvalidRequest",
		"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed": // the bucket lies in another region
		return failure.New(failure.Invalid, "%s: %w", doing, said{err})
	}
	return shorter(wrap(err, "%s", doing))
}

// escapeKey encodes a key for CopySource: a store decodes it like a query, where "+" is a space.
func escapeKey(key string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(key) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// SameStore reports whether an endpoint is that of the vault's store, so that the store can copy from there. "" is AWS,
// whatever the region.
func (v *Vault) SameStore(endpoint string) bool {
	ours, ok := storeOf(aws.ToString(v.client.Options().BaseEndpoint))
	theirs, known := storeOf(endpoint)
	return ok && known && ours == theirs
}

// storeOf returns an endpoint as one store always has it; false where the text is no endpoint.
func storeOf(endpoint string) (string, bool) {
	if endpoint == "" {
		return "", true
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if host == "amazonaws.com" || strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") {
		if strings.HasSuffix(host, ".cn") { // a partition of its own
			return "cn", true
		}
		return "", true
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + host + ":" + port + strings.TrimRight(u.Path, "/"), true
}
