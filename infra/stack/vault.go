package stack

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/jsii-runtime-go"
)

// signatureAge is how long after it was signed a presigned URL begins a download, at most; what the API mints lives as
// long.
const signatureAge = 15 * time.Minute

// makeVault makes the bucket that holds everything, and the bucket of its access logs. Both outlive the stack.
func (s *stack) makeVault() {
	logs := awss3.NewBucket(s.scope, str("AccessLogs"), &awss3.BucketProps{
		// S3 writes access logs only where the default encryption is its own, and nothing is locked.
		Encryption: awss3.BucketEncryption_S3_MANAGED, BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		EnforceSSL: jsii.Bool(true), MinimumTLSVersion: jsii.Number(1.2), ObjectOwnership: awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		Versioned: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		LifecycleRules: &[]*awss3.LifecycleRule{{
			Id: str("old-logs"), Expiration: days(90), NoncurrentVersionExpiration: days(7), AbortIncompleteMultipartUploadAfter: days(1),
		}},
	})
	props := &awss3.BucketProps{
		Versioned: jsii.Bool(true), Encryption: awss3.BucketEncryption_KMS, EncryptionKey: s.key, BucketKeyEnabled: jsii.Bool(true),
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(), ObjectOwnership: awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		EnforceSSL: jsii.Bool(true), MinimumTLSVersion: jsii.Number(1.2),
		ServerAccessLogsBucket: logs, ServerAccessLogsPrefix: str("vault/"),
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN, LifecycleRules: s.lifecycle(),
	}
	if s.options.Lock != nil { // without a default retention, which would lock every version of leases, records and work files
		props.ObjectLockEnabled = jsii.Bool(true)
	}
	s.vault = awss3.NewBucket(s.scope, str("Vault"), props)
	if s.options.Lock != nil {
		s.boundLocks()
	}
	s.makeSigner()
	s.vault.AddToResourcePolicy(deny("OldSignatures", []string{"s3:GetObject"}, map[string]any{
		"StringEquals":       map[string]any{"s3:authType": "REST-QUERY-STRING"},
		"NumericGreaterThan": map[string]any{"s3:signatureAge": signatureAge.Milliseconds()},
		"ArnNotEquals":       map[string]any{"aws:PrincipalArn": s.signer.RoleArn()},
	}, s.vault.ArnForObjects(str("*"))))
}

// boundLocks refuses everybody a lock of an object that is longer than any that a seal makes: nobody could delete what such
// a lock holds, and it would have to be paid for.
func (s *stack) boundLocks() {
	s.vault.AddToResourcePolicy(deny("LongLocks", []string{"s3:PutObjectRetention"}, map[string]any{
		"NumericGreaterThan": map[string]any{"s3:object-lock-remaining-retention-days": s.options.Lock.Most()},
	}, s.vault.ArnForObjects(str("*"))))
}

func days(n int) awscdk.Duration { return awscdk.Duration_Days(jsii.Number(float64(n))) }

// lifecycle is what package deployment says of it. A marker of a deletion goes with the last version that it hides.
func (s *stack) lifecycle() *[]*awss3.LifecycleRule {
	var rules []*awss3.LifecycleRule
	for _, r := range s.options.Lifecycle() {
		rule := &awss3.LifecycleRule{Id: str(r.ID)}
		if r.Prefix != "" {
			rule.Prefix = str(r.Prefix)
		}
		if r.Expire > 0 {
			rule.Expiration = days(r.Expire)
		}
		if r.Noncurrent > 0 {
			rule.NoncurrentVersionExpiration, rule.ExpiredObjectDeleteMarker = days(r.Noncurrent), jsii.Bool(true)
		}
		if r.Abort > 0 {
			rule.AbortIncompleteMultipartUploadAfter = days(r.Abort)
		}
		rules = append(rules, rule)
	}
	return &rules
}

// makeSigner makes the role whose presigned URLs may be older: an application that restores from a URL (Squidex does)
// takes its time. A person who may assume roles of the account assumes it, and signs one URL.
func (s *stack) makeSigner() {
	s.signer = awsiam.NewRole(s.scope, str("Signer"), &awsiam.RoleProps{
		AssumedBy: awsiam.NewAccountPrincipal(s.scope.Account()), MaxSessionDuration: awscdk.Duration_Hours(jsii.Number(12)),
		Description: str("lifeboat: signs URLs of archives that live longer than a quarter of an hour, for applications that restore from a URL"),
	})
	allow(s.signer, []string{"s3:GetObject"}, s.below("archives/"))
	s.allowKey(s.signer, "s3", "kms:Decrypt")
}
