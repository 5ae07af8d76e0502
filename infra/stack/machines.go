package stack

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/workflow"
)

type machines struct {
	backup, restore awsstepfunctions.StateMachine
}

// makeMachines makes the state machines of the very bytes that the embedded runner executes. They are encrypted with AWS's
// own key: the events about executions under a key of ours may come without the input that closing needs, and what passes
// through a state is references only.
func (s *stack) makeMachines() {
	s.machines.backup = s.workflow("Backup", workflow.Backup, workflow.BackupFunctions, "PackMany", "snapshots/*/*/work/")
	s.machines.restore = s.workflow("Restore", workflow.Restore, workflow.RestoreFunctions, "PutMany", "restores/")
	for _, f := range deployed.Functions {
		s.mayStart(f, "LIFEBOAT_BACKUP_MACHINE", s.machines.backup)
		s.mayStart(f, "LIFEBOAT_RESTORE_MACHINE", s.machines.restore)
	}
}

// mayStart tells a function that takes a variable which machine to start, and lets it.
func (s *stack) mayStart(f deployed.Function, variable string, m awsstepfunctions.StateMachine) {
	if !takes(f, variable) {
		return
	}
	s.functions[f.Name].AddEnvironment(str(variable), m.StateMachineArn(), nil)
	allow(s.roles[f.Name], []string{"states:StartExecution"}, m.StateMachineArn())
	if f.Name == "api" {
		allow(s.roles[f.Name], []string{"states:DescribeExecution"}, s.executions(m, ":*"))
	}
}

// workflow makes one of the two machines: it invokes the functions that its definition names, reads the lists of its
// Distributed Map, whose label is given, below one prefix of the vault, and writes the results of the Map there, which it
// reads again.
func (s *stack) workflow(id string, definition []byte, functions map[string]string, label, lists string) awsstepfunctions.StateMachine {
	role := s.machineRole(id+"MachineRole", "lifeboat: the workflow "+id)
	bound := map[string]*string{}
	var arns []*string
	for _, placeholder := range sorted(functions) {
		bound[placeholder] = s.functions[functions[placeholder]].FunctionArn()
		arns = append(arns, bound[placeholder])
	}
	allow(role, []string{"lambda:InvokeFunction"}, arns...)
	allow(role, []string{"s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"}, s.below(lists))
	s.allowKey(role, "s3", "kms:Decrypt", "kms:GenerateDataKey")
	m := s.machine(id, string(definition), bound, role)
	// A policy of its own: as part of the role's it would depend on the machine, which depends on it.
	awsiam.NewPolicy(s.scope, str(id+"Children"), &awsiam.PolicyProps{Statements: &[]awsiam.PolicyStatement{
		statement([]string{"states:StartExecution"}, nil, m.StateMachineArn()),
		statement([]string{"states:DescribeExecution", "states:StopExecution"}, nil, s.executions(m, ":*")),
		statement([]string{"states:RedriveExecution"}, nil, s.executions(m, "/"+label+":*")),
	}}).AttachToRole(role)
	return m
}

// executions names executions of a machine.
func (s *stack) executions(m awsstepfunctions.StateMachine, which string) *string {
	return join(s.arn("states", "execution:"), m.StateMachineName(), str(which))
}

func (s *stack) machine(id, definition string, bound map[string]*string, role awsiam.Role) awsstepfunctions.StateMachine {
	if err := allBound(definition, bound); err != nil {
		panic(fmt.Sprintf("the definition %s: %v", id, err))
	}
	return awsstepfunctions.NewStateMachine(s.scope, str(id+"Machine"), &awsstepfunctions.StateMachineProps{
		DefinitionBody: awsstepfunctions.DefinitionBody_FromString(str(definition)), DefinitionSubstitutions: &bound,
		Role: role, StateMachineType: awsstepfunctions.StateMachineType_STANDARD, TracingEnabled: jsii.Bool(true),
		Logs: &awsstepfunctions.LogOptions{
			Level: awsstepfunctions.LogLevel_ALL, IncludeExecutionData: jsii.Bool(false),
			Destination: s.log(id+"MachineLog", "/aws/vendedlogs/states/"+s.options.Stack+"-"+id),
		},
	})
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9]+)\}`)

// allBound reports a placeholder without a value, or a value without a placeholder: CloudFormation deploys either.
func allBound(definition string, bound map[string]*string) error {
	var named []string
	for _, m := range placeholder.FindAllStringSubmatch(definition, -1) {
		named = append(named, m[1])
		if bound[m[1]] == nil {
			return fmt.Errorf("nothing stands for ${%s}", m[1])
		}
	}
	for name := range bound {
		if !slices.Contains(named, name) {
			return fmt.Errorf("${%s} stands nowhere", name)
		}
	}
	return nil
}
