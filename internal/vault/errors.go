package vault

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
)

func checksum(data []byte) uint32 { return crc32.ChecksumIEEE(data) }

// wrap gives an error of the SDK its kind and says what was being done.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	var ours *failure.Error
	doing := fmt.Sprintf(format, args...)
	switch {
	case errors.As(err, &ours):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failure.New(failure.Canceled, "%s: %w", doing, err)
	}
	kind, hint := classify(err)
	e := failure.New(kind, "%s: %w", doing, err)
	if hint != "" {
		return e.WithHint("%s", hint)
	}
	return e
}

// classify maps S3 error codes first, then statuses, then what the network says.
func classify(err error) (failure.Kind, string) {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion":
			return failure.NotFound, ""
		case "PreconditionFailed", "ConditionalRequestConflict":
			return failure.Conflict, ""
		case "BadDigest", "XAmzContentSHA256Mismatch", "InvalidPart":
			return failure.Corrupt, ""
		case "InsufficientStorage":
			return failure.Exhausted, "free some space where the vault lies, then run the same command again: it goes on where it stopped"
		case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled":
			return failure.Denied, "check the credentials of the vault and what its bucket allows them"
		}
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		switch code := response.HTTPStatusCode(); {
		case code == http.StatusNotFound:
			return failure.NotFound, ""
		case code == http.StatusForbidden, code == http.StatusUnauthorized:
			return failure.Denied, "check the credentials of the vault and what its bucket allows them"
		case code == http.StatusPreconditionFailed, code == http.StatusConflict:
			return failure.Conflict, ""
		case code == http.StatusInsufficientStorage:
			return failure.Exhausted, "free some space where the vault lies"
		case code >= 500, code == http.StatusTooManyRequests:
			return failure.Transient, ""
		}
	}
	var quota ratelimit.QuotaExceededError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	if errors.As(err, &network) || errors.As(err, &exhausted) || errors.As(err, &quota) {
		return failure.Transient, "the vault's S3 server does not answer: check its address and the network"
	}
	var send *smithy.OperationError
	if errors.As(err, &send) && response == nil && api == nil {
		return failure.Transient, ""
	}
	return failure.Internal, ""
}

// retryRace repeats a conditional write that the store refused with 409 because another was under way.
func retryRace(ctx context.Context, write func() error) error {
	wait := 20 * time.Millisecond
	for {
		err := write()
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "ConditionalRequestConflict" || wait > 2*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}
