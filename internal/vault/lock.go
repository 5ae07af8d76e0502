package vault

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/failure"
)

// Lock is how the versions of objects are locked: Object Lock of S3. Until the end of its lock nobody deletes or
// overwrites a version; with governance, nobody who may not bypass it.
type Lock struct {
	Days       int // that what a backup needs stays locked, from its end on
	Compliance bool
}

var lockText = regexp.MustCompile(`^([1-9]\d{0,4})d (governance|compliance)$`)

// ParseLock reads "30d governance" or "30d compliance", as `immutability` in lifeboat.yaml has it.
func ParseLock(text string) (Lock, error) {
	m := lockText.FindStringSubmatch(text)
	if m == nil {
		return Lock{}, failure.New(failure.Usage, "%q is no lock, such as 30d governance or 30d compliance", text)
	}
	days, _ := strconv.Atoi(m[1]) // five digits
	return Lock{Days: days, Compliance: m[2] == "compliance"}, nil
}

// String is what ParseLock reads.
func (l Lock) String() string {
	mode := "governance"
	if l.Compliance {
		mode = "compliance"
	}
	return fmt.Sprintf("%dd %s", l.Days, mode)
}

// spare is how many days longer a lock is made than it has to be: a tenth of it, one at least. What a later backup shares
// is locked anew only once the spare time has been used up, not by each backup.
func (l Lock) spare() int { return max(1, l.Days/10) }

// Longest is how many days S3 locks an object for at most: a hundred years.
const Longest = 36500

// Most is how many days a lock lasts at most.
func (l Lock) Most() int { return l.Days + l.spare() + 1 }

// Span is what a lock of an object must cover. Least is when it ends at the earliest; one that ends earlier is extended to
// Until.
type Span struct {
	Least, Until time.Time
}

// sealing is what Least has on top, since a backup ends a while after the first of its objects was looked at.
const sealing = time.Hour

// Span returns what the locks of a backup that is sealed now must cover.
func (l Lock) Span(now time.Time) Span {
	least := now.UTC().Truncate(time.Second).AddDate(0, 0, l.Days).Add(sealing)
	return Span{least, least.AddDate(0, 0, l.spare())}
}

// Locked is the lock of a version; Until is zero where it has none, or where whoever asks may not know
// (s3:GetObjectRetention).
type Locked struct {
	Until      time.Time
	Compliance bool
}

// lockedOf reads the lock of an answer to HEAD.
func lockedOf(out *s3.HeadObjectOutput) Locked {
	return Locked{aws.ToTime(out.ObjectLockRetainUntilDate).UTC(), out.ObjectLockMode == types.ObjectLockModeCompliance}
}

// Lock makes sure that the present version of an object is locked for a span, and returns until when it is. A lock is
// extended, never shortened, and keeps its mode: governance does not become compliance. One that has ended counts as none.
// Repeated, it finds what it did.
// It needs s3:PutObjectRetention, and s3:GetObjectRetention to see what there is.
func (v *Vault) Lock(ctx context.Context, key Key, l Lock, span Span) (time.Time, error) {
	info, err := v.Head(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	if !info.Locked.Until.Before(span.Least) {
		return info.Locked.Until, nil
	}
	mode, compliance := types.ObjectLockRetentionModeGovernance, l.Compliance
	if info.Locked.Until.After(time.Now()) { // the store's clock counts, which is nobody's to set
		compliance = info.Locked.Compliance
	}
	if compliance {
		mode = types.ObjectLockRetentionModeCompliance
	}
	in := &s3.PutObjectRetentionInput{
		Bucket: &v.bucket, Key: new(string(key)), Retention: &types.ObjectLockRetention{Mode: mode, RetainUntilDate: &span.Until},
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, // S3 wants one of the request, or a Content-MD5
	}
	if info.Version != "" {
		in.VersionId = &info.Version
	}
	_, err = v.client.PutObjectRetention(ctx, in)
	return span.Until, wrapLock(err, key)
}

// wrapLock says what to do about a lock that the store refuses.
func wrapLock(err error, key Key) error {
	if err = wrap(err, "lock %s", key); err == nil {
		return nil
	}
	switch failure.KindOf(err) {
	case failure.Denied:
		return failure.New(failure.Denied, "%w", err).WithHint("the role needs s3:PutObjectRetention and s3:GetObjectRetention on the vault: deploy the stack again")
	case failure.Invalid, failure.Internal: // "Bucket is missing Object Lock Configuration"; a store that knows no locks
		return failure.New(failure.Usage, "%w", err).
			WithHint("the bucket has no Object Lock, or the store knows none: deploy the stack with `immutability`, which turns it on, or take that out of lifeboat.yaml")
	}
	return err
}
