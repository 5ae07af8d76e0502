package vault

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Role is a role that is assumed through STS to reach a store, usually one of another account.
type Role struct {
	ARN        string        // "": none
	ExternalID secret.String // what the role's trust policy asks for; may be empty
	Session    string        // who the other account's logs name: 2 to 64 of letters, digits and _+=,.@-
}

const (
	roleTime  = 20 * time.Second // bounds one request for credentials
	roleEarly = 2 * time.Minute  // how long before their end credentials, which live a quarter of an hour, are made anew
)

// assumed returns credentials of the role, asked for with those of config. They are kept, and renewed before they end.
func (r Role) assumed(config aws.Config) aws.CredentialsProvider {
	client := sts.NewFromConfig(config, func(o *sts.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = retries, 500*time.Millisecond })
	})
	role := stscreds.NewAssumeRoleProvider(client, r.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = r.Session
		if !r.ExternalID.Empty() {
			o.ExternalID = new(r.ExternalID.Reveal())
		}
	})
	ask := aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		ctx, cancel := context.WithTimeout(ctx, roleTime) // the cache takes the caller's own deadline away
		defer cancel()
		if _, err := config.Credentials.Retrieve(ctx); err != nil {
			return aws.Credentials{}, failure.New(failure.Denied, "there are no credentials to assume the role %s with", r.ARN).
				WithHint("give the AWS SDK some: in the environment, or as the role of the machine")
		}
		got, err := role.Retrieve(ctx)
		return got, r.fault(err)
	})
	return aws.NewCredentialsCache(ask, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = roleEarly })
}

// fault says in one sentence why STS gives no credentials. Its words name principals and are not repeated; its error
// code is.
func (r Role) fault(err error) error {
	if err == nil {
		return nil
	}
	code, status := "no error code", 0
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = strconv.Quote(api.ErrorCode())
		code = code[1 : len(code)-1]
	}
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	switch {
	case status == 0:
		return failure.New(failure.Transient, "STS does not answer, which gives the credentials of the role %s", r.ARN).
			WithHint("check that STS can be reached from here, in the region of the bucket")
	case status == 429 || status >= 500 || strings.HasPrefix(code, "Throttling"):
		return failure.New(failure.Transient, "STS gives no credentials of the role %s now (%s)", r.ARN, code).WithHint("try again later")
	case code == "ValidationError":
		return failure.New(failure.Usage, "STS takes no such request for the role %s (%s)", r.ARN, code).
			WithHint("check role and external-id of the bucket")
	case code != "AccessDenied":
		return failure.New(failure.Denied, "the role %s can't be assumed (%s)", r.ARN, code).
			WithHint("check the credentials that the AWS SDK finds here, with which the role is assumed, and that STS is on in the region of the bucket")
	}
	return r.denied()
}

// denied is what STS says of a wrong role, principal and external id alike.
func (r Role) denied() error {
	err := failure.New(failure.Denied, "the role %s can't be assumed (AccessDenied)", r.ARN)
	const trust = "check role of the bucket, that the role's trust policy names who runs lifeboat, "
	if r.ExternalID.Empty() {
		return err.WithHint(trust + "and whether it asks for an external-id, of which there is none")
	}
	return err.WithHint(trust + "and that its sts:ExternalId is the bucket's external-id")
}

// RoleFault returns what kept a role from being assumed, without what the SDK was doing at that moment.
func RoleFault(err error) (*failure.Error, bool) {
	return errors.AsType[*failure.Error](err)
}
