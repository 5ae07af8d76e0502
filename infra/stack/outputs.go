package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"

	"lifeboat/internal/config"
	"lifeboat/internal/deployment"
	"lifeboat/internal/secret"
)

// makeOutputs says what to type next: each output is a command, or what a command wants.
func (s *stack) makeOutputs() {
	region := join(str(" --region "), s.scope.Region())
	s.command("StartBackup", join(str("aws stepfunctions start-execution --state-machine-arn "), s.machines.backup.StateMachineArn(), str(" --input file://events/input.json"), region))
	s.command("StartRestore", join(str("aws stepfunctions start-execution --state-machine-arn "), s.machines.restore.StateMachineArn(), str(" --input file://events/restore-input.json"), region))
	s.command("ListBackups", join(str("aws s3 ls --recursive s3://"), s.vault.BucketName(), str("/catalog/backups/"), region))
	s.command("GetArchives", join(str("aws s3 sync s3://"), s.vault.BucketName(), str("/archives/ archives/"), region))
	s.command("Fetch", join(str("s3://"), s.vault.BucketName()))
	s.command("SigningKey", join(str("aws secretsmanager get-secret-value --query SecretString --output text --secret-id "), s.signing.arn, region))
	s.command("Undelivered", s.receive(s.undone.schedules.QueueUrl(), region))
	s.command("Unclosed", s.receive(s.undone.rules.QueueUrl(), region))
	s.command("Unanswered", s.receive(s.undone.functions.QueueUrl(), region))
	s.command("LongLink", join(str("aws sts assume-role --role-session-name link --role-arn "), s.signer.RoleArn()))
	s.command("Links", s.public.url)
	if s.options.API.Issuer != "" {
		s.command("API", s.public.api.AttrApiEndpoint())
	}
	s.command("Machines", s.machinesURL)
	s.command("Topic", join(str("aws sns list-subscriptions-by-topic --topic-arn "), s.failures.TopicArn(), region))
	s.command("Operators", join(str("aws iam attach-role-policy --role-name ROLE --policy-arn "), s.operators))
	s.makeMailOutputs(region)
	for _, source := range s.options.Config.Sources {
		s.bucketPolicy("Source"+camel(string(source.Name)), source.Instance, []string{"export", "copy"}, "s3:GetObject")
	}
	for _, target := range s.options.Config.Targets {
		s.bucketPolicy("Target"+camel(target.Name), target.Instance, []string{"restore"}, "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
	}
}

// command makes one of the outputs that package deployment lists.
func (s *stack) command(name string, value *string) {
	id := name + "Command" // no resource may have the same
	o, known := s.options.Output(id)
	if !known {
		panic("package deployment does not list the output " + id)
	}
	awscdk.NewCfnOutput(s.scope, str(name+"Output"), &awscdk.CfnOutputProps{Description: str(o.Says), Value: value}).OverrideLogicalId(str(id))
}

func (s *stack) receive(queue, region *string) *string {
	return join(str("aws sqs receive-message --max-number-of-messages 10 --queue-url "), queue, region)
}

func (s *stack) makeMailOutputs(region *string) {
	if s.ses == nil {
		return
	}
	s.command("MailSandbox", join(str("aws sesv2 get-account --query ProductionAccessEnabled"), region))
	if _, has := s.options.Output("MailRecordsCommand"); !has {
		return
	}
	s.command("MailRecords",
		join(s.ses.identity.AttrDkimDnsTokenName1(), str(" "), s.ses.identity.AttrDkimDnsTokenName2(), str(" "), s.ses.identity.AttrDkimDnsTokenName3()))
}

// bucketPolicy says what the owner of a bucket in another account must allow: the roles of the stack, so that its objects
// are copied by S3 itself, or a role of the owner's to be assumed. In the account of the stack the roles' own rights are
// enough.
func (s *stack) bucketPolicy(id string, i config.Instance, functions []string, actions ...string) {
	b := i.Datasource.Bucket
	var roles []*string
	for _, name := range functions {
		roles = append(roles, s.roles[name].RoleArn())
	}
	switch {
	case b == nil:
		return
	case b.Role != "":
		s.trustPolicy(id, b, roles)
		return
	case !deployment.ReachedByRole(b):
		return
	}
	bucket := s.bucketARN(b.Name)
	s.command(id+"Policy", s.scope.ToJsonString(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{
			map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": roles}, "Action": actions, "Resource": s.objects(b)},
			map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": roles}, "Action": "s3:ListBucket", "Resource": bucket},
		},
	}, nil))
}

// trustPolicy says what the trust policy of a role must be that reaches a bucket of another account.
func (s *stack) trustPolicy(id string, b *config.Bucket, roles []*string) {
	trust := map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": roles}, "Action": "sts:AssumeRole"}
	if b.ExternalID != "" {
		trust["Condition"] = map[string]any{"StringEquals": map[string]any{"sts:ExternalId": externalID(b.ExternalID)}}
	}
	s.command(id+"TrustPolicy", s.scope.ToJsonString(map[string]any{
		"Version": "2012-10-17", "Statement": []any{trust},
	}, nil))
}

// externalID is an external id as the other account gets to read it: it is no secret where it stands in the
// configuration; of a reference only its owner knows the value.
func externalID(r secret.Reference) string {
	if r.Bare() {
		return string(r)
	}
	return "<PUT-THE-VALUE-OF-" + string(r) + "-HERE>"
}
