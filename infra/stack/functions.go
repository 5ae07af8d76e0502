package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/config"
	"lifeboat/internal/deployment"
	"lifeboat/internal/lambdafn/deployed"
)

// grantOf is one object that every function reads.
type grantOf struct {
	object *string
}

// makeConfig uploads lifeboat.yaml, without the section that only the stack reads. The key changes with its content, so
// that a deployment changes code and configuration together.
func (s *stack) makeConfig() {
	path := filepath.Join(s.props.Work, config.FileName)
	if err := os.WriteFile(path, s.options.ConfigText, 0o600); err != nil {
		panic(fmt.Sprintf("write the configuration for the functions: %v", err))
	}
	asset := awss3assets.NewAsset(s.scope, str("Config"), &awss3assets.AssetProps{Path: str(path)})
	s.configURL = asset.S3ObjectUrl()
	s.config = grantOf{asset.Bucket().ArnForObjects(asset.S3ObjectKey())}
}

// makeFunctions makes the functions that package deployed lists, each with a role and a log of its own.
func (s *stack) makeFunctions() {
	s.makeConfig()
	for _, f := range deployed.Functions {
		role := s.functionRole(f)
		log := s.log(camel(f.Name)+"Log", "")
		allow(role, []string{"logs:CreateLogStream", "logs:PutLogEvents"}, log.LogGroupArn())
		props := &awslambda.FunctionProps{
			Description: str("lifeboat: " + f.Says), Runtime: awslambda.Runtime_PROVIDED_AL2023(), Handler: str("bootstrap"),
			Architecture: awslambda.Architecture_ARM_64(), Code: awslambda.Code_FromAsset(str(filepath.Join(s.props.Dist, f.Name+".zip")), nil),
			MemorySize: jsii.Number(float64(f.Memory)), Timeout: awscdk.Duration_Seconds(jsii.Number(f.Timeout.Seconds())),
			Role: role, LogGroup: log, LoggingFormat: awslambda.LoggingFormat_JSON, Tracing: awslambda.Tracing_ACTIVE,
			RecursiveLoop: awslambda.RecursiveLoop_TERMINATE, Environment: s.environment(f),
		}
		if n, ok := s.options.Reserved[f.Name]; ok {
			props.ReservedConcurrentExecutions = jsii.Number(float64(n))
		}
		s.roles[f.Name], s.functions[f.Name] = role, awslambda.NewFunction(s.scope, str(camel(f.Name)), props)
	}
}

// log makes a group of logs that are kept for a quarter of a year, and no longer than the stack.
func (s *stack) log(id, name string) awslogs.LogGroup {
	props := &awslogs.LogGroupProps{Retention: awslogs.RetentionDays_THREE_MONTHS, EncryptionKey: s.key, RemovalPolicy: awscdk.RemovalPolicy_DESTROY}
	if name != "" {
		props.LogGroupName = str(name)
	}
	return awslogs.NewLogGroup(s.scope, str(id), props)
}

// functionRole is what a function may do.
func (s *stack) functionRole(f deployed.Function) awsiam.Role {
	role := s.role(camel(f.Name)+"Role", "lambda.amazonaws.com", "lifeboat: "+f.Says)
	s.allowVault(role, f.Vault)
	if writes(f) {
		s.allowKey(role, "s3", "kms:Decrypt", "kms:GenerateDataKey")
	} else {
		s.allowKey(role, "s3", "kms:Decrypt")
	}
	if takes(f, "LIFEBOAT_SIGNING_KEY") || takes(f, "LIFEBOAT_LINK_KEY") {
		s.allowKey(role, "secretsmanager", "kms:Decrypt")
	}
	allowIf(role, s.ownedBy(s.scope.Account()), []string{"s3:GetObject"}, s.config.object) // whoever guesses the name may have made the bucket
	named := &rights{}                                                                     // on what lifeboat.yaml names, which may be a lot
	if f.Sources {
		for _, source := range s.options.Config.Sources {
			s.allowInstance(named, source.Instance, s.options.Sources[string(source.Name)].Key, false)
		}
	}
	if f.Targets {
		for _, target := range s.options.Config.Targets {
			s.allowInstance(named, target.Instance, s.options.Targets[target.Name].Key, true)
		}
	}
	if takes(f, "LIFEBOAT_SIGNING_KEY") {
		allow(role, []string{"secretsmanager:GetSecretValue"}, s.signing.arn)
	}
	if takes(f, "LIFEBOAT_MAC_KEY") {
		allow(role, f.MAC, s.mac.KeyArn())
	}
	if takes(f, "LIFEBOAT_LINK_KEY") {
		allow(role, []string{"secretsmanager:GetSecretValue"}, s.links.arn)
	}
	if takes(f, "LIFEBOAT_MAIL") {
		s.allowMail(role, named)
	}
	if hook := s.options.Webhook; hook != nil && takes(f, "LIFEBOAT_WEBHOOK") {
		s.allowSecret(named, hook.URL, hook.Key)
	}
	s.give(role, named)
	return role
}

// writes reports whether a function writes to the vault.
func writes(f deployed.Function) bool {
	return slices.ContainsFunc(f.Vault, func(g deployed.Grant) bool { return g.Action == "s3:PutObject" })
}

// takes reports whether a function looks at a variable.
func takes(f deployed.Function, variable string) bool {
	return slices.Contains(f.Required, variable) || slices.Contains(f.Optional, variable)
}

// allowInstance gives a role what it needs of one application: its secrets, and its files where they lie in a bucket that
// is reached with the role. A bucket that is reached with a role of its owner's needs the right to assume that one, and no
// other; a bucket elsewhere, or one with keys of its own, needs none here.
func (s *stack) allowInstance(r *rights, i config.Instance, key string, write bool) {
	s.allowSecret(r, i.Token)
	b := i.Datasource.Bucket
	if b == nil {
		return
	}
	s.allowSecret(r, b.AccessKey, b.SecretKey, b.ExternalID)
	if b.Role != "" {
		r.allow(nil, []string{"sts:AssumeRole"}, str(literal(b.Role)))
	}
	if !deployment.ReachedByRole(b) {
		return
	}
	actions, keyActions := []string{"s3:GetObject"}, []string{"kms:Decrypt"}
	if write {
		actions, keyActions = append(actions, "s3:PutObject", "s3:AbortMultipartUpload"), append(keyActions, "kms:GenerateDataKey")
	}
	owner := s.scope.Account()
	if b.Owner != "" {
		owner = str(b.Owner)
	}
	r.allow(s.ownedBy(owner), actions, s.objects(b))
	// On the whole bucket, not below the prefix only: for a file that has gone S3 would say "forbidden", not "not found".
	r.allow(s.ownedBy(owner), []string{"s3:ListBucket"}, s.bucketARN(b.Name))
	if key != "" {
		r.allow(map[string]any{"StringLike": map[string]any{"kms:ViaService": join(str("s3.*."), s.scope.UrlSuffix())}}, keyActions, str(key))
	}
}

// objects names those of a source or target.
func (s *stack) objects(b *config.Bucket) *string {
	below := "/*"
	if b.Prefix != "" {
		below = "/" + literal(b.Prefix) + "/*"
	}
	return join(s.bucketARN(b.Name), str(below))
}

// ownedBy holds for what belongs to an account. The name of a bucket that was deleted is anybody's.
func (s *stack) ownedBy(account *string) map[string]any {
	return map[string]any{"StringEquals": map[string]any{"aws:ResourceAccount": account}}
}

// environment is what a function finds: of what the stack has to say, the variables that it takes.
func (s *stack) environment(f deployed.Function) *map[string]*string {
	all := map[string]*string{
		"LIFEBOAT_STACK": str(s.options.Stack), "LIFEBOAT_CONFIG": s.configURL,
		"LIFEBOAT_VAULT_BUCKET": s.vault.BucketName(), "LIFEBOAT_VAULT_OWNER": s.scope.Account(),
		"LIFEBOAT_SIGNING_KEY": s.signing.reference(), "LIFEBOAT_LINK_KEY": s.links.reference(),
		"LIFEBOAT_PUBLIC_URL": s.public.url,
	}
	all["LIFEBOAT_MAC_KEY"] = s.mac.KeyArn()
	if s.options.Lock != nil {
		all["LIFEBOAT_IMMUTABILITY"] = str(s.options.Lock.String())
	}
	if s.ses != nil {
		all["LIFEBOAT_MAIL"], all["LIFEBOAT_MAIL_FROM"] = str("ses"), str(s.options.Mail.From)
		all["LIFEBOAT_SES_CONFIGURATION_SET"] = s.ses.set
	}
	if hook := s.options.Webhook; hook != nil {
		all["LIFEBOAT_WEBHOOK"], all["LIFEBOAT_WEBHOOK_KEY"] = str(string(hook.URL)), str(string(hook.Key))
	}
	found := map[string]*string{}
	for _, name := range slices.Concat(f.Required, f.Optional) {
		if value := all[name]; value != nil {
			found[name] = value
		} else if slices.Contains(f.Required, name) && !strings.HasSuffix(name, "_MACHINE") { // these follow: see mayStart
			panic(fmt.Sprintf("the function %s needs %s, which the stack does not know", f.Name, name))
		}
	}
	return &found
}
