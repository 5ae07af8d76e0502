package stack

import (
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"

	"lifeboat/internal/lambdafn/deployed"
)

// allow gives a role single actions on single resources.
func allow(role awsiam.Role, actions []string, resources ...*string) {
	role.AddToPolicy(statement(actions, nil, resources...))
}

// allowIf is allow under a condition.
func allowIf(role awsiam.Role, conditions map[string]any, actions []string, resources ...*string) {
	role.AddToPolicy(statement(actions, conditions, resources...))
}

func statement(actions []string, conditions map[string]any, resources ...*string) awsiam.PolicyStatement {
	p := &awsiam.PolicyStatementProps{Effect: awsiam.Effect_ALLOW, Actions: strs(actions...), Resources: &resources}
	if conditions != nil {
		p.Conditions = &conditions
	}
	return awsiam.NewPolicyStatement(p)
}

// deny refuses everybody something on a bucket.
func deny(sid string, actions []string, conditions map[string]any, resources ...*string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: str(sid), Effect: awsiam.Effect_DENY, Actions: strs(actions...), Resources: &resources,
		Principals: &[]awsiam.IPrincipal{awsiam.NewAnyPrincipal()}, Conditions: &conditions,
	})
}

// allowVault gives a role what its function does in the vault: one statement for each set of actions.
func (s *stack) allowVault(role awsiam.Role, grants []deployed.Grant) {
	actions := map[string][]string{} // prefix → actions
	for _, g := range grants {
		if deployed.Locks(g.Action) && s.options.Lock == nil {
			continue
		}
		if !slices.Contains(actions[g.Prefix], g.Action) {
			actions[g.Prefix] = append(actions[g.Prefix], g.Action)
		}
	}
	prefixes := map[string][]string{} // actions → prefixes
	for _, prefix := range sorted(actions) {
		slices.Sort(actions[prefix])
		set := strings.Join(actions[prefix], " ")
		if prefix == "" {
			set += " " // the bucket itself is no key: it gets a statement of its own
		}
		prefixes[set] = append(prefixes[set], prefix)
	}
	for _, set := range sorted(prefixes) {
		var resources []*string
		for _, prefix := range prefixes[set] {
			resources = append(resources, s.below(prefix))
		}
		allow(role, strings.Fields(set), resources...)
	}
}

// below names what lies below a prefix of the vault; a key where the prefix is none; the bucket where it is empty.
func (s *stack) below(prefix string) *string {
	switch {
	case prefix == "":
		return s.vault.BucketArn()
	case strings.HasSuffix(prefix, "/"):
		prefix += "*"
	}
	return s.vault.ArnForObjects(str(prefix))
}

// allowKey gives a role the key of the vault as far as a service uses it for the role: s3 reads and writes objects with it,
// secretsmanager reads the stack's own secrets.
func (s *stack) allowKey(role awsiam.Role, service string, actions ...string) {
	role.AddToPolicy(s.keyStatement(service, actions...))
}

func (s *stack) keyStatement(service string, actions ...string) awsiam.PolicyStatement {
	return statement(actions, s.via(service), s.key.KeyArn())
}

// via holds for what services of the stack's Region do for somebody.
func (s *stack) via(services ...string) map[string]any {
	var names []*string
	for _, service := range services {
		names = append(names, join(str(service+"."), s.scope.Region(), str("."), s.scope.UrlSuffix()))
	}
	return map[string]any{"StringEquals": map[string]any{"kms:ViaService": names}}
}

// role makes a role that one service of AWS assumes.
func (s *stack) role(id, service, description string) awsiam.Role {
	return awsiam.NewRole(s.scope, str(id), &awsiam.RoleProps{AssumedBy: awsiam.NewServicePrincipal(str(service), nil), Description: str(description)})
}

// machineRole makes a role that Step Functions assumes for machines of this account only.
func (s *stack) machineRole(id, description string) awsiam.Role {
	return awsiam.NewRole(s.scope, str(id), &awsiam.RoleProps{
		Description: str(description),
		AssumedBy: awsiam.NewServicePrincipal(str("states.amazonaws.com"), &awsiam.ServicePrincipalOpts{
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": s.scope.Account()}},
		}),
	})
}
