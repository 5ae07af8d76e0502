// Package awssecret resolves secretsmanager: and ssm: references.
//
//	secretsmanager:NAME-OR-ARN       the secret string
//	secretsmanager:NAME-OR-ARN#KEY   one value of a secret that is a JSON object of strings
//	ssm:NAME-OR-ARN                  a parameter, decrypted where it is a SecureString
//
// It asks for the current version each time; package secret keeps the answers for a while. It needs
// secretsmanager:GetSecretValue or ssm:GetParameter on the one secret, and kms:Decrypt where its key is one of the
// account's own.
package awssecret

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Resolver implements secret.Resolver.
type Resolver struct {
	secrets    *secretsmanager.Client
	parameters *ssm.Client
}

// New returns the resolver of an account and Region.
func New(config aws.Config) *Resolver {
	return &Resolver{secretsmanager.NewFromConfig(config), ssm.NewFromConfig(config)}
}

// Resolve implements secret.Resolver.
func (r *Resolver) Resolve(ctx context.Context, scheme, name string) (secret.String, error) {
	if scheme == "ssm" {
		return r.parameter(ctx, name)
	}
	id, key, picked := strings.Cut(name, "#")
	out, err := r.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return secret.String{}, fault(err, "secret", id)
	}
	if out.SecretString == nil {
		return secret.String{}, failure.New(failure.Usage, "the secret %s holds bytes, not text", id).WithHint("store its value as text")
	}
	if !picked {
		return secret.New(*out.SecretString), nil
	}
	return pick(*out.SecretString, id, key)
}

// pick returns one value of a secret that is a JSON object. The errors of the decoder would quote it.
func pick(text, id, key string) (secret.String, error) {
	var values map[string]any
	if json.Unmarshal([]byte(text), &values) != nil {
		return secret.String{}, failure.New(failure.Usage, "the secret %s is no JSON object, and has no %q", id, key).
			WithHint("leave out #%s where the secret is the value itself", key)
	}
	value, ok := values[key].(string)
	if !ok {
		return secret.String{}, failure.New(failure.Usage, "the secret %s has no text %q", id, key)
	}
	return secret.New(value), nil
}

func (r *Resolver) parameter(ctx context.Context, name string) (secret.String, error) {
	out, err := r.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: new(true)})
	if err != nil {
		return secret.String{}, fault(err, "parameter", name)
	}
	if out.Parameter == nil {
		return secret.String{}, failure.New(failure.Internal, "the parameter store answers without the parameter %s", name)
	}
	return secret.New(aws.ToString(out.Parameter.Value)), nil
}

// fault gives an error of the SDK its kind. Of the service's own words only the code is kept.
func fault(err error, what, name string) error {
	var api smithy.APIError
	var response *awshttp.ResponseError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	switch {
	case errors.As(err, &response) && response.HTTPStatusCode() >= 500:
		return failure.New(failure.Transient, "read the %s %s: the service answers %d", what, name, response.HTTPStatusCode())
	case errors.Is(err, context.Canceled):
		return failure.New(failure.Canceled, "read the %s %s: %w", what, name, context.Canceled)
	case errors.As(err, &api):
		return ofCode(api, what, name)
	case errors.As(err, &network), errors.As(err, &exhausted), errors.Is(err, context.DeadlineExceeded):
		return failure.New(failure.Transient, "read the %s %s: the service does not answer", what, name)
	}
	return failure.New(failure.Internal, "read the %s %s: %w", what, name, err)
}

func ofCode(api smithy.APIError, what, name string) error {
	code := api.ErrorCode()
	switch code {
	case "ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound":
		return failure.New(failure.NotFound, "there is no %s %s in this account and Region", what, name).
			WithHint("create it, or correct the reference in lifeboat.yaml")
	case "AccessDeniedException", "DecryptionFailure", "DecryptionFailureException", "UnrecognizedClientException", "ExpiredTokenException":
		return failure.New(failure.Denied, "the %s %s may not be read (%s)", what, name, code).
			WithHint("deploy again after a change of lifeboat.yaml: the functions' roles name each secret; with a KMS key of your own, its policy must allow them kms:Decrypt")
	case "InvalidParameterException", "InvalidRequestException", "ValidationException", "InvalidKeyId":
		return failure.New(failure.Usage, "read the %s %s: the service says %s", what, name, code)
	case "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "ServiceUnavailable":
		return failure.New(failure.Transient, "read the %s %s: the service says %s", what, name, code)
	}
	return failure.New(failure.Internal, "read the %s %s: the service says %s", what, name, code)
}
