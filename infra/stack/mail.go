package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsses"
	"github.com/aws/jsii-runtime-go"
)

// sesOf is how mail leaves through SES.
type sesOf struct {
	set      *string                 // name of the configuration set
	identity awsses.CfnEmailIdentity // nil for one that is there already
}

// makeMail makes the sender's identity and a configuration set: TLS or nothing, no tracking of who opens what, bounces and
// complaints end in the suppression list. Without deploy: {mail: …} there is none.
func (s *stack) makeMail() {
	mail := s.options.Mail
	if mail == nil {
		return
	}
	set := awsses.NewCfnConfigurationSet(s.scope, str("Mail"), &awsses.CfnConfigurationSetProps{
		DeliveryOptions:    &awsses.CfnConfigurationSet_DeliveryOptionsProperty{TlsPolicy: str("REQUIRE")},
		ReputationOptions:  &awsses.CfnConfigurationSet_ReputationOptionsProperty{ReputationMetricsEnabled: jsii.Bool(true)},
		SuppressionOptions: &awsses.CfnConfigurationSet_SuppressionOptionsProperty{SuppressedReasons: strs("BOUNCE", "COMPLAINT")},
	})
	awsses.NewCfnConfigurationSetEventDestination(s.scope, str("MailMetrics"), &awsses.CfnConfigurationSetEventDestinationProps{
		ConfigurationSetName: set.Ref(),
		EventDestination: &awsses.CfnConfigurationSetEventDestination_EventDestinationProperty{
			Name: str("metrics"), Enabled: jsii.Bool(true), MatchingEventTypes: strs("send", "reject", "bounce", "complaint", "delivery", "renderingFailure"),
			CloudWatchDestination: &awsses.CfnConfigurationSetEventDestination_CloudWatchDestinationProperty{
				DimensionConfigurations: []any{&awsses.CfnConfigurationSetEventDestination_DimensionConfigurationProperty{
					DimensionName: str("lifeboat"), DimensionValueSource: str("messageTag"), DefaultDimensionValue: str(s.options.Stack),
				}},
			},
		},
	})
	s.ses = &sesOf{set: set.Ref()}
	if !mail.Existing {
		s.ses.identity = awsses.NewCfnEmailIdentity(s.scope, str("Sender"), &awsses.CfnEmailIdentityProps{
			EmailIdentity:              str(mail.Identity),
			ConfigurationSetAttributes: &awsses.CfnEmailIdentity_ConfigurationSetAttributesProperty{ConfigurationSetName: set.Ref()},
		})
	}
}

// allowMail lets a role send as the one address; or read what the file says of a mail server. As long as the account is in
// the sandbox, SES asks about the identities of the recipients, too, whom lifeboat.yaml and a restore's input name: so the
// condition says who sends, and the resource nothing.
func (s *stack) allowMail(role awsiam.Role, r *rights) {
	if s.ses == nil {
		if c := s.options.Config; c.Mail != nil {
			s.allowSecret(r, c.Mail.SMTP)
		}
		return
	}
	allowIf(role, map[string]any{"StringEquals": map[string]any{"ses:FromAddress": s.options.Mail.From}},
		[]string{"ses:SendEmail", "ses:SendRawEmail"}, // a finished message needs both
		s.arn("ses", "identity/*"), join(s.arn("ses", "configuration-set/"), s.ses.set))
}
