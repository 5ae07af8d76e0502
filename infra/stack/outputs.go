package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"

	"lifeboat/internal/config"
)

// makeOutputs says what to type next: each output is a command, or what a command wants.
func (s *stack) makeOutputs() {
	region := join(str(" --region "), s.scope.Region())
	s.output("StartBackup", "start a backup: put an id of its own and the source into the file",
		join(str("aws stepfunctions start-execution --state-machine-arn "), s.machines.backup.StateMachineArn(), str(" --input file://events/input.json"), region))
	s.output("StartRestore", "start a restore",
		join(str("aws stepfunctions start-execution --state-machine-arn "), s.machines.restore.StateMachineArn(), str(" --input file://events/restore-input.json"), region))
	s.output("ListBackups", "the records of all backups", join(str("aws s3 ls --recursive s3://"), s.vault.BucketName(), str("/catalog/backups/"), region))
	s.output("GetArchives", "fetch all archives", join(str("aws s3 sync s3://"), s.vault.BucketName(), str("/archives/ archives/"), region))
	s.output("Fetch", "read the vault on another machine: vault: of a lifeboat.yaml", join(str("s3://"), s.vault.BucketName()))
	s.output("SigningKey", "keep a copy of this elsewhere: backups are signed with what derives from it",
		join(str("aws secretsmanager get-secret-value --query SecretString --output text --secret-id "), s.signing.arn, region))
	s.output("Undelivered", "what could not be started", s.receive(s.undone.schedules.QueueUrl(), region))
	s.output("Unclosed", "events about runs that reached nobody", s.receive(s.undone.rules.QueueUrl(), region))
	s.output("Unanswered", "events that a function could not answer", s.receive(s.undone.functions.QueueUrl(), region))
	s.output("LongLink", "sign a URL of an archive that lives longer than a quarter of an hour, as this role", join(str("aws sts assume-role --role-session-name link --role-arn "), s.signer.RoleArn()))
	s.output("Links", "where the links of mails lead", s.public.url)
	s.output("API", "the API for people; there is one where deploy: {api: {issuer: …}} names who they are", s.public.api.AttrApiEndpoint())
	s.output("Machines", "the API for machines: requests are signed for execute-api", s.machinesURL)
	s.output("Topic", "who hears of failures", join(str("aws sns list-subscriptions-by-topic --topic-arn "), s.failures.TopicArn(), region))
	s.output("Operators", "let a role use the stack: lifeboat --stack "+s.options.Stack,
		join(str("aws iam attach-role-policy --role-name ROLE --policy-arn "), s.operators))
	s.makeMailOutputs(region)
	for _, source := range s.options.Config.Sources {
		s.bucketPolicy("Source"+camel(string(source.Name)), source.Instance, []string{"export", "copy"}, "s3:GetObject")
	}
	for _, target := range s.options.Config.Targets {
		s.bucketPolicy("Target"+camel(target.Name), target.Instance, []string{"restore"}, "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
	}
}

func (s *stack) output(id, says string, value *string) {
	awscdk.NewCfnOutput(s.scope, str(id+"Output"), &awscdk.CfnOutputProps{Description: str(says), Value: value}).OverrideLogicalId(str(id + "Command"))
}

func (s *stack) receive(queue, region *string) *string {
	return join(str("aws sqs receive-message --max-number-of-messages 10 --queue-url "), queue, region)
}

func (s *stack) makeMailOutputs(region *string) {
	if s.ses == nil {
		return
	}
	s.output("MailSandbox", "false: mail reaches confirmed addresses only, until AWS lets the account out of the sandbox",
		join(str("aws sesv2 get-account --query ProductionAccessEnabled"), region))
	if s.ses.identity == nil || strings.Contains(s.options.Mail.Identity, "@") { // an address is confirmed by a mail to it
		return
	}
	s.output("MailRecords", "CNAME records of the sender's domain: NAME._domainkey, to NAME.dkim.amazonses.com, for each NAME",
		join(s.ses.identity.AttrDkimDnsTokenName1(), str(" "), s.ses.identity.AttrDkimDnsTokenName2(), str(" "), s.ses.identity.AttrDkimDnsTokenName3()))
}

// bucketPolicy says what the owner of a bucket in another account must allow, so that its objects are copied by S3 itself.
// In the account of the stack the roles' own rights are enough.
func (s *stack) bucketPolicy(id string, i config.Instance, functions []string, actions ...string) {
	b := i.Datasource.Bucket
	if b == nil || !reachedByRole(b) {
		return
	}
	var roles []*string
	for _, name := range functions {
		roles = append(roles, s.roles[name].RoleArn())
	}
	objects := "/*"
	if b.Prefix != "" {
		objects = "/" + b.Prefix + "/*"
	}
	bucket := s.bucketARN(b.Name)
	s.output(id+"Policy", "the policy of the bucket "+b.Name+", where it belongs to another account", s.scope.ToJsonString(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{
			map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": roles}, "Action": actions, "Resource": join(bucket, str(objects))},
			map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": roles}, "Action": "s3:ListBucket", "Resource": bucket},
		},
	}, nil))
}
