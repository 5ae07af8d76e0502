package notify

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"

	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// sesTotal bounds a delivery, with the repetitions of the SDK.
const sesTotal = time.Minute

// SES is a Sender that hands mails to Amazon SES, as raw MIME: the same bytes that SMTP gets. SES writes a Message-ID
// of its own into what it delivers; the receipt's detail has its id.
type SES struct {
	client           *sesv2.Client
	configurationSet string
}

// NewSES returns the sender of an account and Region. The configuration set may be empty. It needs ses:SendEmail and
// ses:SendRawEmail on the sender's identity and on the configuration set; and, while the account is in the sandbox, on the
// identity of each recipient, too.
func NewSES(config aws.Config, configurationSet string) *SES {
	return &SES{sesv2.NewFromConfig(config), configurationSet}
}

// Send implements Sender. A service that does not answer or throttles is Transient, a used up quota Exhausted; one that
// refuses our credentials or the sender is Denied, and one that refuses the mail Invalid.
func (s *SES) Send(ctx context.Context, m *Mail) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, sesTotal)
	defer cancel()
	var raw bytes.Buffer
	if _, err := m.WriteTo(&raw); err != nil {
		return Receipt{}, err
	}
	in := &sesv2.SendEmailInput{
		FromEmailAddress: new(m.from.Address),
		Destination:      &types.Destination{ToAddresses: []string{m.to.Address}},
		Content:          &types.EmailContent{Raw: &types.RawMessage{Data: raw.Bytes()}},
	}
	if s.configurationSet != "" {
		in.ConfigurationSetName = &s.configurationSet
	}
	out, err := s.client.SendEmail(ctx, in)
	if err != nil {
		return Receipt{}, sesFault(ctx, err)
	}
	return Receipt{Status: Sent, Detail: "SES message " + plain.Short(aws.ToString(out.MessageId), maxName)}, nil
}

func sesFault(ctx context.Context, err error) error {
	const doing = "send mail through SES"
	var api smithy.APIError
	var response *awshttp.ResponseError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	switch {
	case errors.As(err, &response) && response.HTTPStatusCode() >= 500:
		return failure.New(failure.Transient, "%s: the service answers %d", doing, response.HTTPStatusCode())
	case errors.As(err, &api):
		kind, hint := sesKind(api)
		e := failure.New(kind, "%s: %s (%s)", doing, plain.Short(api.ErrorMessage(), maxSentence), plain.Short(api.ErrorCode(), maxName))
		if hint != "" {
			return e.WithHint("%s", hint)
		}
		return e
	case errors.Is(ctx.Err(), context.Canceled):
		return failure.New(failure.Canceled, "%s: %w", doing, ctx.Err())
	case errors.As(err, &network), errors.As(err, &exhausted), errors.Is(err, context.DeadlineExceeded):
		return failure.New(failure.Transient, "%s: the service does not answer", doing)
	}
	return failure.New(failure.Internal, "%s: %w", doing, err)
}

// sesKind returns what a refusal of SES means, and what to do about it.
func sesKind(api smithy.APIError) (failure.Kind, string) {
	switch api.ErrorCode() {
	case "MessageRejected":
		return failure.Invalid, "in the sandbox of SES, recipients must be verified too: ask for production access, or verify the address"
	case "MailFromDomainNotVerifiedException":
		return failure.Denied, "verify the MAIL FROM domain of the sender's identity in SES"
	case "AccountSuspendedException", "SendingPausedException":
		return failure.Denied, "look at the reputation page of SES: the account or the configuration set may not send at the moment"
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException":
		return failure.Denied, "the role must allow ses:SendEmail and ses:SendRawEmail on the configuration set and on identity/*: in the sandbox SES asks about the recipient's identity, too. The stack's role does; deploy again where it is older"
	case "NotFoundException":
		return failure.NotFound, "deploy again: the configuration set or the sender's identity is not there"
	case "LimitExceededException":
		return failure.Exhausted, "SES sends no more today: ask for a higher quota"
	case "TooManyRequestsException", "ThrottlingException", "Throttling":
		return failure.Transient, ""
	case "BadRequestException":
		return failure.Invalid, ""
	}
	return failure.Internal, ""
}
