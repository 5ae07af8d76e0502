package stack

import (
	"crypto/sha256"
	"encoding/base32"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

// str is the pointer that CDK wants.
func str(text string) *string { return jsii.String(text) }

func strs(texts ...string) *[]*string { return jsii.Strings(texts...) }

// join puts texts together that are known only when the stack is deployed.
func join(parts ...*string) *string { return awscdk.Fn_Join(str(""), &parts) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// arn names something of the account and Region of the stack.
func (s *stack) arn(service, resource string) *string {
	return join(str("arn:"), s.scope.Partition(), str(":"+service+":"), s.scope.Region(), str(":"), s.scope.Account(), str(":"+resource))
}

// bucketARN names a bucket, and what lies in it.
func (s *stack) bucketARN(name string) *string {
	return join(str("arn:"), s.scope.Partition(), str(":s3:::"+name))
}

// camel makes of a name of lifeboat.yaml the id of a construct: photos becomes Photos. Two names never give the same: one
// with a dash gets a digest of it.
func camel(name string) string {
	var id strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word != "" {
			id.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	if strings.Contains(name, "-") {
		sum := sha256.Sum256([]byte(name))
		id.WriteString(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:5]))
	}
	return id.String()
}
