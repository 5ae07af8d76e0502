package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awseventstargets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/jsii-runtime-go"
)

// makeClosing closes the record of every run that ended without doing so itself, and tells people: a state machine cannot
// catch all that ends it (States.Runtime, a time-out of the whole, somebody who stops it). The functions that would have
// been asked to abort or to release are asked now; for a run that is closed already that is a no-op.
func (s *stack) makeClosing() {
	s.closing("Backup", s.machines.backup, "package")
	s.closing("Restore", s.machines.restore, "restore")
	for _, name := range asynchronous {
		s.undeliverable(name)
	}
}

// asynchronous are the functions that something invokes without waiting for the answer.
var asynchronous = []string{"package", "restore", "notify", "start"}

func (s *stack) closing(id string, m awsstepfunctions.StateMachine, closer string) {
	target := func(function string) awsevents.IRuleTarget {
		return awseventstargets.NewLambdaFunction(s.functions[function], &awseventstargets.LambdaFunctionProps{
			DeadLetterQueue: s.undone.rules, MaxEventAge: awscdk.Duration_Hours(jsii.Number(24)), RetryAttempts: jsii.Number(185),
		})
	}
	awsevents.NewRule(s.scope, str(id+"Ended"), &awsevents.RuleProps{
		Description: str("lifeboat: closes the record of a run whose execution ended without doing so itself"),
		EventPattern: &awsevents.EventPattern{
			Source: strs("aws.states"), DetailType: strs("Step Functions Execution Status Change"),
			Detail: &map[string]any{
				"status":          []string{"FAILED", "TIMED_OUT", "ABORTED"},
				"stateMachineArn": []*string{m.StateMachineArn()},
			},
		},
		Targets: &[]awsevents.IRuleTarget{target(closer), target("notify")},
	})
}

// undeliverable keeps the events that a function could not answer, after two more attempts.
func (s *stack) undeliverable(name string) {
	allow(s.roles[name], []string{"sqs:SendMessage"}, s.undone.functions.QueueArn())
	awslambda.NewCfnEventInvokeConfig(s.scope, str(camel(name)+"Async"), &awslambda.CfnEventInvokeConfigProps{
		FunctionName: s.functions[name].FunctionName(), Qualifier: str("$LATEST"),
		MaximumEventAgeInSeconds: jsii.Number(6 * 60 * 60), MaximumRetryAttempts: jsii.Number(2),
		DestinationConfig: &awslambda.CfnEventInvokeConfig_DestinationConfigProperty{
			OnFailure: &awslambda.CfnEventInvokeConfig_OnFailureProperty{Destination: s.undone.functions.QueueArn()},
		},
	})
}
