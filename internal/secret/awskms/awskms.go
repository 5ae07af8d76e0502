// Package awskms makes and checks message authentication codes with an HMAC key of KMS. The key never leaves the service;
// who may only check (kms:VerifyMac) can forge nothing.
//
// It implements manifest.Authenticator, which it does not know.
package awskms

import (
	"context"
	"errors"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
)

// MAC makes and checks codes (HMAC_SHA_256) with one key.
type MAC struct {
	client *kms.Client
	key    string
}

// New returns what works with a key, by its ARN.
func New(config aws.Config, key string) *MAC { return &MAC{kms.NewFromConfig(config), key} }

// Key returns the ARN.
func (m *MAC) Key() string { return m.key }

// most is how long a message may be, in bytes (KMS API reference, GenerateMac).
const most = 4096

// Make returns the code of a message of at most 4,096 bytes. It needs kms:GenerateMac. A key that is gone is Denied, here and
// in Verify, not NotFound: that would say that a backup lacks something.
func (m *MAC) Make(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > most {
		return nil, failure.New(failure.Internal, "KMS makes no MAC of %d bytes", len(message))
	}
	out, err := m.client.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: &m.key, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: message})
	if err != nil {
		return nil, m.fault(err, "make a MAC", "kms:GenerateMac")
	}
	return out.Mac, nil
}

// Verify reports whether the code is that of the message. It needs kms:VerifyMac.
func (m *MAC) Verify(ctx context.Context, message, code []byte) (bool, error) {
	out, err := m.client.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: &m.key, MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: message, Mac: code})
	if _, wrong := errors.AsType[*types.KMSInvalidMacException](err); wrong {
		return false, nil
	}
	if err != nil {
		return false, m.fault(err, "check a MAC", "kms:VerifyMac")
	}
	return out.MacValid, nil
}

// fault gives an error of the SDK its kind. Of the service's own words only the code is kept.
func (m *MAC) fault(err error, doing, action string) error {
	var api smithy.APIError
	var response *awshttp.ResponseError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	switch {
	case errors.Is(err, context.Canceled):
		return failure.New(failure.Canceled, "%s with %s: %w", doing, m.key, context.Canceled)
	case errors.As(err, &response) && response.HTTPStatusCode() >= 500:
		return failure.New(failure.Transient, "%s with %s: KMS answers %d", doing, m.key, response.HTTPStatusCode())
	case errors.As(err, &api):
		return m.ofCode(api.ErrorCode(), doing, action)
	case errors.As(err, &network), errors.As(err, &exhausted), errors.Is(err, context.DeadlineExceeded):
		return failure.New(failure.Transient, "%s with %s: KMS does not answer", doing, m.key)
	}
	return failure.New(failure.Internal, "%s with %s: %w", doing, m.key, err)
}

func (m *MAC) ofCode(code, doing, action string) error {
	kind, hint := failure.Internal, ""
	switch code {
	case "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException":
		kind, hint = failure.Denied, "the role needs "+action+" on the key, and the key's policy must let the account's roles use it"
	case "NotFoundException": // nothing of the vault is gone: "not found" would say that of what the MAC proves
		kind, hint = failure.Denied, "the key was deleted, or lies in another Region or account: deploy the stack again, and see which key LIFEBOAT_MAC_KEY names"
	case "DisabledException", "KMSInvalidStateException":
		kind, hint = failure.Denied, "the key is disabled or about to be deleted: enable it, or cancel its deletion, in KMS"
	case "InvalidKeyUsageException", "InvalidArnException", "ValidationException":
		kind, hint = failure.Usage, "LIFEBOAT_MAC_KEY must be an HMAC_256 key: deploy the stack again"
	case "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException":
		kind = failure.Transient
	}
	err := failure.New(kind, "%s with %s: KMS says %s", doing, m.key, code)
	if hint != "" {
		return err.WithHint("%s", hint)
	}
	return err
}
