package stack

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"

	"lifeboat/internal/deployment"
)

// rights collects what a role may do with what lifeboat.yaml names. The same actions under the same conditions become one
// statement with several resources: what was asked for, and nothing else, in fewer characters.
type rights struct {
	all []*right // in the order in which they were asked for first
}

// right is one statement.
type right struct {
	key        string // its actions and conditions
	actions    []string
	conditions map[string]any // nil for none
	resources  []string
}

// allow adds actions on resources, under conditions. A resource that is there already is not added again.
func (r *rights) allow(conditions map[string]any, actions []string, resources ...*string) {
	said, err := json.Marshal(conditions)
	if err != nil {
		panic(fmt.Sprintf("a condition of a policy: %v", err))
	}
	key := strings.Join(actions, " ") + string(said)
	n := slices.IndexFunc(r.all, func(one *right) bool { return one.key == key })
	if n < 0 {
		n, r.all = len(r.all), append(r.all, &right{key: key, actions: actions, conditions: conditions})
	}
	for _, resource := range resources {
		if !slices.Contains(r.all[n].resources, *resource) {
			r.all[n].resources = append(r.all[n].resources, *resource)
		}
	}
}

// What IAM takes of a managed policy, in characters. CDK fills its policies by a guess at the size of each resource, to half;
// so these are filled here.
const (
	policySize  = 6144
	policySpare = 300 // the frame of a policy, and what a partition may be called some day

	// inlineSize is how much of this may stand in the role's own policy, beside what every function gets.
	inlineSize = 3000
)

// give lets a role do all of it: in its own policy where there is little, in policies of its own where there is much.
func (s *stack) give(role awsiam.Role, r *rights) {
	if few := r.packed(inlineSize); len(few) <= 1 {
		for _, one := range slices.Concat(few...) {
			role.AddToPolicy(one.statement())
		}
		return
	}
	policies := r.packed(policySize - policySpare)
	if len(policies) > deployment.MostPolicies {
		panic(fmt.Sprintf("what lifeboat.yaml names needs %d policies at %s, and IAM takes %d: make two stacks of it", len(policies), *role.Node().Id(), deployment.MostPolicies))
	}
	for n, policy := range policies {
		var statements []awsiam.PolicyStatement
		for _, one := range policy {
			statements = append(statements, one.statement())
		}
		// Below the role: who depends on it waits for them.
		awsiam.NewManagedPolicy(role, str(fmt.Sprintf("Named%d", n+1)), &awsiam.ManagedPolicyProps{
			Description: str("lifeboat: what lifeboat.yaml names"), Statements: &statements, Roles: &[]awsiam.IRole{role},
		})
	}
}

func (r right) statement() awsiam.PolicyStatement {
	return statement(r.actions, r.conditions, *strs(r.resources...)...)
}

// packed spreads the rights over policies that have a size at most. A statement is cut between two resources.
func (r *rights) packed(size int) [][]*right {
	var policies [][]*right
	left := 0
	for _, whole := range r.all {
		var part *right
		for _, resource := range whole.resources {
			needs := length(resource) + len(`"",`)
			if part == nil {
				needs += whole.frame()
			}
			if needs > left { // a part of it in the next policy needs its frame again
				if part != nil {
					needs += whole.frame()
				}
				policies, part, left = append(policies, nil), nil, size
			}
			if part == nil {
				part = &right{actions: whole.actions, conditions: whole.conditions}
				policies[len(policies)-1] = append(policies[len(policies)-1], part)
			}
			part.resources, left = append(part.resources, resource), left-needs
		}
	}
	return policies
}

// frame is how long a statement is without its resources.
func (r right) frame() int {
	conditions := 0
	if r.conditions != nil {
		said, _ := json.Marshal(r.conditions) // allow has tried
		conditions = len(`"Condition":,`) + length(string(said))
	}
	return len(`{"Action":[],"Effect":"Allow","Resource":[]},`) + conditions + len(strings.Join(r.actions, `","`)) + len(`""`)
}

// token is what CDK writes for a text that is known only when the stack is deployed.
var token = regexp.MustCompile(`\$\{Token\[([A-Za-z.]+)\.\d+\]\}`)

// lengths are how long such texts are at most; see length.
var lengths = map[string]int{"AWS.Partition": 10, "AWS.Region": 16, "AWS.AccountId": 12, "AWS.URLSuffix": 18}

// length is how long a text is at most when the stack is deployed.
func length(text string) int {
	n := 0
	for _, m := range token.FindAllStringSubmatch(text, -1) {
		of, known := lengths[m[1]]
		if !known {
			of = 130 // a name or ARN of something of the stack
		}
		n += of - len(m[0])
	}
	return n + len(text)
}
