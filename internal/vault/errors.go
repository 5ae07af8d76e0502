package vault

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

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
	e := failure.New(kind, "%s: %w", doing, said{err})
	if hint != "" {
		return e.WithHint("%s", hint)
	}
	return e
}

// said shortens an error of the SDK to what a person can use: the store's own words, or what the network said.
type said struct{ err error }

func (s said) Unwrap() error { return s.err }

func (s said) Error() string {
	var api smithy.APIError
	var call *net.OpError
	var send *smithy.OperationError
	switch {
	case errors.As(s.err, &api) && api.ErrorMessage() != "":
		return fmt.Sprintf("the store says %q (%s)", api.ErrorMessage(), api.ErrorCode())
	case errors.As(s.err, &api):
		return fmt.Sprintf("the store says %s", api.ErrorCode())
	case errors.As(s.err, &call):
		var number syscall.Errno
		if errors.As(call.Err, &number) {
			return number.Error()
		}
		return call.Err.Error()
	case errors.As(s.err, &send):
		return send.Err.Error()
	}
	return s.err.Error()
}

const (
	hintDenied = "check the credentials of the vault and what its bucket allows them"
	hintFull   = "free some space where the vault lies, then run the same command again; for a moment a backup needs about three times the space of what is new"
	hintProbe  = "`lifeboat doctor --probe-store` finds out what the store can do, and lifeboat then does without the rest"
	hintClock  = "set the clock of this machine: the store refuses requests that are minutes off"
)

// classify maps S3 error codes first, then statuses, then what the network says.
func classify(err error) (failure.Kind, string) {
	var api smithy.APIError
	if errors.As(err, &api) {
		if kind, hint, known := ofCode(api.ErrorCode()); known {
			return kind, hint
		}
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		if kind, hint, known := ofStatus(response.HTTPStatusCode()); known {
			return kind, hint
		}
	}
	return ofNetwork(err, response != nil || api != nil)
}

func ofCode(code string) (kind failure.Kind, hint string, known bool) {
	switch code {
	case "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion":
		return failure.NotFound, "", true
	case "PreconditionFailed", "ConditionalRequestConflict":
		return failure.Conflict, "", true
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidPart", "InvalidRange":
		return failure.Corrupt, "", true
	case "InsufficientStorage":
		return failure.Exhausted, hintFull, true
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "ExpiredToken", "InvalidToken":
		return failure.Denied, hintDenied, true
	case "RequestTimeTooSkewed":
		return failure.Denied, hintClock, true
	case "NotImplemented": // never mind the status 501: it is of no use to try again
		return failure.Invalid, hintProbe, true
	case "RequestTimeout", "SlowDown":
		return failure.Transient, "", true
	}
	return failure.Internal, "", false
}

func ofStatus(status int) (kind failure.Kind, hint string, known bool) {
	switch {
	case status == http.StatusNotFound:
		return failure.NotFound, "", true
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return failure.Denied, hintDenied, true
	case status == http.StatusPreconditionFailed, status == http.StatusConflict:
		return failure.Conflict, "", true
	case status == http.StatusRequestedRangeNotSatisfiable:
		return failure.Corrupt, "", true
	case status == http.StatusInsufficientStorage:
		return failure.Exhausted, hintFull, true
	case status >= 500, status == http.StatusTooManyRequests:
		return failure.Transient, "", true
	}
	return failure.Internal, "", false
}

func ofNetwork(err error, answered bool) (failure.Kind, string) {
	var quota ratelimit.QuotaExceededError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	if errors.As(err, &network) || errors.As(err, &exhausted) || errors.As(err, &quota) {
		return failure.Transient, "the vault's S3 server does not answer: check its address and the network"
	}
	var send *smithy.OperationError
	if errors.As(err, &send) && !answered {
		return failure.Transient, ""
	}
	var garbled *smithy.DeserializationError
	if errors.As(err, &garbled) { // the answer broke off, or something between has changed it
		return failure.Transient, ""
	}
	return failure.Internal, ""
}

// counting adds to sent how often a request goes out: the SDK repeats one whose answer does not come.
func counting(sent *int) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("LifeboatCounting",
				func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
					middleware.FinalizeOutput, middleware.Metadata, error,
				) {
					*sent++
					return next.HandleFinalize(ctx, in)
				}), "Retry", middleware.After)
		})
	}
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
