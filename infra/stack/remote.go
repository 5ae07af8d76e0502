package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
)

// makeRemote makes what `lifeboat --stack NAME` works with: the parameter that describes the stack, as package remote reads
// it, and a policy for those who may use it. It is attached to nobody.
func (s *stack) makeRemote() {
	awsssm.NewCfnParameter(s.scope, str("About"), &awsssm.CfnParameterProps{
		Name: str("/lifeboat/" + s.options.Stack), Type: str("String"), Description: str("lifeboat: what the stack is made of; no secret"),
		Value: s.scope.ToJsonString(map[string]any{
			"format": 1, "vault_bucket": s.vault.BucketName(), "config": s.configURL, "account": s.scope.Account(), "public_url": s.public.url, "link_key": s.links.reference(),
			"backup_machine": s.machines.backup.StateMachineArn(), "restore_machine": s.machines.restore.StateMachineArn(),
		}, nil),
	})
	policy := awsiam.NewManagedPolicy(s.scope, str("Operators"), &awsiam.ManagedPolicyProps{
		Description: str("lifeboat: start and follow backups and restores, read the records, make links"),
	})
	allow := func(actions []string, resources ...*string) {
		policy.AddStatements(statement(actions, nil, resources...))
	}
	allow([]string{"ssm:GetParameter"}, s.arn("ssm", "parameter/lifeboat/"+s.options.Stack))
	allow([]string{"states:StartExecution"}, s.machines.backup.StateMachineArn(), s.machines.restore.StateMachineArn())
	allow([]string{"states:DescribeExecution", "states:StopExecution"}, s.executions(s.machines.backup, ":*"), s.executions(s.machines.restore, ":*"))
	allow([]string{"s3:ListBucket"}, s.below(""))
	allow([]string{"s3:GetObject"}, s.below("vault.json"), s.below("store.json"), s.below("catalog/"), s.below("snapshots/"), s.below("archives/"))
	policy.AddStatements(statement([]string{"s3:GetObject"}, s.ownedBy(s.scope.Account()), s.config.object))
	allow([]string{"s3:GetObject", "s3:PutObject"}, s.below("links/"))
	allow([]string{"secretsmanager:GetSecretValue"}, s.links.arn)
	policy.AddStatements(s.keyStatement("s3", "kms:Decrypt", "kms:GenerateDataKey"), s.keyStatement("secretsmanager", "kms:Decrypt"))
	s.operators = policy.ManagedPolicyArn()
}
