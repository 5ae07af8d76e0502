package stack

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/deployment"
)

// str is the pointer that CDK wants.
func str(text string) *string { return jsii.String(text) }

func strs(texts ...string) *[]*string { return jsii.Strings(texts...) }

// join puts texts together, of which some are known only when the stack is deployed. The same parts make the same text.
func join(parts ...*string) *string {
	var text strings.Builder
	for _, part := range parts {
		text.WriteString(*part)
	}
	return str(text.String())
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// arn names something of the account and Region of the stack.
func (s *stack) arn(service, resource string) *string {
	return join(str("arn:"), s.scope.Partition(), str(":"+service+":"), s.scope.Region(), str(":"), s.scope.Account(), str(":"+resource))
}

// bucketARN names a bucket, and what lies in it.
func (s *stack) bucketARN(name string) *string {
	return join(str("arn:"), s.scope.Partition(), str(":s3:::"+name))
}

// literal escapes what means something in the resource of a policy: * and ? stand for others, ${…} for a variable.
func literal(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(text)
}

// camel makes the id of a construct of a name.
func camel(name string) string { return deployment.ID(name) }
