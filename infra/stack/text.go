package stack

import (
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/deployment"
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

// camel makes the id of a construct of a name.
func camel(name string) string { return deployment.ID(name) }
