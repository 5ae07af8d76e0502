// Package stack defines lifeboat in an AWS account: everything that lifeboat.yaml needs there, and nothing that runs
// while nobody backs up or restores.
//
// The parts stand in the order in which they need one another: keys and secrets, the vault, queues for what could not be
// delivered, the mail identity, the functions, the state machines (their definitions are the embedded bytes of package
// workflow), what closes runs that could not close themselves, the schedules, the HTTP APIs, alarms and the dashboard,
// and the outputs, which are commands to paste.
//
// What a function may do and finds in its environment is not said here but in package deployed, which the functions
// read, too. Roles get single actions on single prefixes: none of CDK's grants is used, which are wider.
package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/deployment"
)

// Props says what a stack is made of.
type Props struct {
	Options *deployment.Options
	Dist    string // the folder with <function>.zip, as `make lambdas` writes them
	Work    string // an empty folder for files that become assets
}

// stack is a stack that is being made. Each part reads what the parts before it have made.
type stack struct {
	scope   awscdk.Stack
	props   Props
	options *deployment.Options

	key       awskms.Key
	mac       awskms.Key // that manifests get a MAC from
	signing   secretOf
	links     secretOf
	vault     awss3.Bucket
	signer    awsiam.Role
	undone    queues
	configURL *string
	config    grantOf
	ses       *sesOf
	public    publicAPI
	functions map[string]awslambda.Function
	roles     map[string]awsiam.Role
	machines  machines
	failures  awssns.Topic

	machinesURL *string // of the API for machines
	operators   *string // ARN of the policy of those who use the stack
}

// stackTag is the key of the tag that all of the stack has.
const stackTag = "lifeboat:stack"

// queues hold what could not be delivered, or not be done, until somebody looks: one for each kind of asynchronous edge.
type queues struct {
	schedules, rules, functions awssqs.Queue
}

func (q queues) all() []awssqs.Queue { return []awssqs.Queue{q.schedules, q.rules, q.functions} }

// New adds a stack to an app. What is wrong with an asset or a construct is a panic, as everywhere in CDK.
func New(scope constructs.Construct, props Props) awscdk.Stack {
	o := props.Options
	s := &stack{props: props, options: o, functions: map[string]awslambda.Function{}, roles: map[string]awsiam.Role{}}
	s.scope = awscdk.NewStack(scope, str(o.Stack), &awscdk.StackProps{
		Description: str("lifeboat: complete, proven, restorable backups"), TerminationProtection: jsii.Bool(true),
		SuppressTemplateIndentation: jsii.Bool(o.Size().Compact),
	})
	awscdk.Tags_Of(s.scope).Add(str("service"), str("lifeboat"), nil)
	awscdk.Tags_Of(s.scope).Add(str(stackTag), str(o.Stack), nil)
	for _, key := range sorted(o.Tags) {
		awscdk.Tags_Of(s.scope).Add(str(key), str(o.Tags[key]), nil)
	}
	if o.Boundary != "" {
		awsiam.PermissionsBoundary_Of(s.scope).Apply(awsiam.ManagedPolicy_FromManagedPolicyArn(s.scope, str("Boundary"), str(o.Boundary)))
	}
	s.makeKeys()
	s.makeVault()
	s.makeQueues()
	s.makeMail()
	s.makePublicAPI()
	s.makeFunctions()
	s.makeMachines()
	s.makeClosing()
	s.makeSchedules()
	s.makeRoutes()
	s.makeWatch()
	s.makeBudget()
	s.makeRemote()
	s.makeOutputs()
	return s.scope
}

func (s *stack) makeQueues() {
	queue := func(id string) awssqs.Queue {
		return awssqs.NewQueue(s.scope, str(id), &awssqs.QueueProps{
			// Encrypted by SQS itself: Scheduler and EventBridge can't write to a queue with a key of ours without more rights
			// on that key than they need; what lies here is references.
			Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: jsii.Bool(true),
			RetentionPeriod: awscdk.Duration_Days(jsii.Number(14)),
		})
	}
	s.undone = queues{schedules: queue("UndeliveredSchedules"), rules: queue("UndeliveredEvents"), functions: queue("UnansweredEvents")}
}
