package stack

import (
	"regexp"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/secret"
)

// secretOf is a secret of the stack.
type secretOf struct {
	arn *string
}

// reference is what a function's environment says of it.
func (k secretOf) reference() *string { return join(str("secretsmanager:"), k.arn) }

// makeKeys makes the key that everything is encrypted with, and two secrets that Secrets Manager makes up: nobody ever
// carries a key to the stack. Beside these, a key that never leaves KMS, for the MACs of manifests. All four outlive the stack:
// without them its backups could not be read, or not be trusted.
func (s *stack) makeKeys() {
	s.key = awskms.NewKey(s.scope, str("Key"), &awskms.KeyProps{
		Description: str("lifeboat: the vault, its secrets, the topic of failures and the logs"), EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN, PendingWindow: awscdk.Duration_Days(jsii.Number(30)),
	})
	// Logs are encrypted by the service that keeps them, for the groups of this account only.
	s.key.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: str("Logs"), Effect: awsiam.Effect_ALLOW, Resources: strs("*"),
		Actions: strs("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey",
			"kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"),
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(join(str("logs."), s.scope.Region(), str(".amazonaws.com")), nil)},
		Conditions: &map[string]any{"ArnLike": map[string]any{"kms:EncryptionContext:aws:logs:arn": s.arn("logs", "log-group:*")}},
	}), nil)
	// Alarms write into the encrypted topic.
	s.key.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: str("Alarms"), Effect: awsiam.Effect_ALLOW, Actions: strs("kms:Decrypt", "kms:GenerateDataKey"), Resources: strs("*"),
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(str("cloudwatch.amazonaws.com"), nil)},
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": s.scope.Account()}},
	}), nil)
	// Who steals the signing key can sign, but makes no MAC. KMS does not rotate such keys.
	s.mac = awskms.NewKey(s.scope, str("MacKey"), &awskms.KeyProps{
		Description: str("lifeboat: a second proof of who sealed a backup's manifest"),
		KeySpec:     awskms.KeySpec_HMAC_256, KeyUsage: awskms.KeyUsage_GENERATE_VERIFY_MAC,
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN, PendingWindow: awscdk.Duration_Days(jsii.Number(30)),
	})
	s.signing = s.secret("SigningKey", "lifeboat: the manifests of backups are signed with what derives from this. Never change it; keep a copy elsewhere.")
	s.links = s.secret("LinkKey", "lifeboat: the links in mails derive from this. A new value makes all links of old mails useless.")
}

// secret makes a secret of 64 random letters and digits.
func (s *stack) secret(id, description string) secretOf {
	made := awssecretsmanager.NewCfnSecret(s.scope, str(id), &awssecretsmanager.CfnSecretProps{
		Description: str(description), KmsKeyId: s.key.KeyArn(),
		GenerateSecretString: &awssecretsmanager.CfnSecret_GenerateSecretStringProperty{
			PasswordLength: jsii.Number(64), ExcludePunctuation: jsii.Bool(true),
		},
	})
	made.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	return secretOf{made.Ref()}
}

// allowSecret allows secrets of the account that lifeboat.yaml refers to, and the keys of their own that they may have. Other
// references (a server for mail without a password) need no right.
func (s *stack) allowSecret(r *rights, references ...secret.Reference) {
	for _, reference := range references {
		scheme, name, _ := strings.Cut(string(reference), ":")
		switch scheme {
		case "secretsmanager":
			name, _, _ = strings.Cut(name, "#")
			r.allow(nil, []string{"secretsmanager:GetSecretValue"}, s.secretARN(name))
		case "ssm":
			r.allow(nil, []string{"ssm:GetParameter"}, s.parameterARN(name))
		default:
			continue
		}
		if len(s.options.SecretKeys) > 0 {
			r.allow(s.via(scheme), []string{"kms:Decrypt"}, *strs(s.options.SecretKeys...)...)
		}
	}
}

// whole is the end of a secret's whole ARN: Secrets Manager puts a dash and six characters behind a name.
var whole = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)

// secretARN names a secret by its name or ARN. Secrets Manager finds one by an ARN without its end, too, and asks IAM about
// the whole one; a name that itself ends like that is taken for whole.
func (s *stack) secretARN(name string) *string {
	switch {
	case !strings.HasPrefix(name, "arn:"):
		return s.arn("secretsmanager", "secret:"+literal(name)+"-??????")
	case whole.MatchString(name):
		return str(literal(name))
	}
	return str(literal(name) + "-??????")
}

func (s *stack) parameterARN(name string) *string {
	if strings.HasPrefix(name, "arn:") {
		return str(literal(name))
	}
	return s.arn("ssm", "parameter/"+literal(strings.TrimPrefix(name, "/")))
}
