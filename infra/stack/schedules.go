package stack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/catalog"
	"lifeboat/internal/deployment"
)

// scheduledTime is what EventBridge Scheduler puts in the place of this text: 2026-11-21T02:00:00Z.
const scheduledTime = "<aws.scheduler.scheduled-time>"

// schedules is what all schedules have in common.
type schedules struct {
	*stack
	group awsscheduler.CfnScheduleGroup
	role  awsiam.Role
}

// makeSchedules makes one schedule for the backups of each source, one for its watchdog, and one for each drill. An event
// may come twice: a backup derives its id from what the event says, and starts once; a drill starts again, see drill. What
// cannot be delivered within two hours lies in a queue that an alarm looks at.
func (s *stack) makeSchedules() {
	group := awsscheduler.NewCfnScheduleGroup(s.scope, str("Schedules"), &awsscheduler.CfnScheduleGroupProps{Name: str(s.options.Stack)})
	m := schedules{s, group, s.schedulerRole()}
	startARN := s.functions["start"].FunctionArn()
	allow(m.role, []string{"lambda:InvokeFunction"}, startARN)
	allow(m.role, []string{"sqs:SendMessage"}, s.undone.schedules.QueueArn())
	for _, name := range sorted(s.options.Sources) {
		source := s.options.Sources[name]
		if source.Cron != "" {
			m.cron("Backup"+camel(name), "starts the backups of "+name, source.When, startARN,
				map[string]any{"start": map[string]string{"source": name, "at": scheduledTime, "schedule": name}})
		}
		if source.Overdue > 0 {
			m.make("Watch"+camel(name), "looks whether "+name+" has a good backup that is young enough",
				fmt.Sprintf("rate(%d minutes)", int(deployment.WatchEvery.Minutes())), "UTC", 0, startARN,
				map[string]any{"watch": map[string]string{"source": name, "within": source.Overdue.String()}})
		}
	}
	if len(s.options.Drills) > 0 {
		allow(m.role, []string{"states:StartExecution"}, s.machines.restore.StateMachineArn())
	}
	for _, name := range sorted(s.options.Drills) {
		m.drill(name, s.options.Drills[name])
	}
}

// drill restores the newest backup of a source into a target that is there for it, or into a throw-away place. The workflow
// itself derives the id of a restore from what it restores and where: the same backup is drilled into a target under one id,
// each drill comparing anew, and each drill into a throw-away place has an id of its own. A dry run is one of a drill. An
// event that comes twice drills twice: Scheduler gives an execution no name of ours. That costs a second run.
func (m schedules) drill(name string, d deployment.Drill) {
	m.cron("Drill"+camel(name), d.Says(), d.When, m.machines.restore.StateMachineArn(),
		events.RestoreInput{Restore: events.Restore{
			From: events.From{Backup: d.Source + ":latest"}, To: events.To{Target: d.Target, Drill: true}, Only: []string{}, Check: "full", DryRun: d.DryRun,
			Wishes:    app.Wishes{Documents: true, Objects: true},
			StartedBy: catalog.Starter{By: "schedule", Who: "drill " + name},
		}})
}

func (m schedules) cron(id, says string, when deployment.When, target *string, input any) {
	m.make(id, says, "cron("+when.Cron+")", when.Zone, when.Window, target, input)
}

func (m schedules) make(id, says, expression, zone string, window time.Duration, target *string, input any) {
	data, err := plainJSON(input)
	if err != nil {
		panic(fmt.Sprintf("the input of the schedule %s: %v", id, err))
	}
	flexible := &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: str("OFF")}
	if window > 0 {
		flexible.Mode, flexible.MaximumWindowInMinutes = str("FLEXIBLE"), jsii.Number(window.Minutes())
	}
	awsscheduler.NewCfnSchedule(m.scope, str(id+"Schedule"), &awsscheduler.CfnScheduleProps{
		Description: str("lifeboat: " + says), GroupName: m.group.Ref(),
		ScheduleExpression: str(expression), ScheduleExpressionTimezone: str(zone), FlexibleTimeWindow: flexible,
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			Arn: target, RoleArn: m.role.RoleArn(), Input: str(data),
			DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: m.undone.schedules.QueueArn()},
			RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{
				MaximumRetryAttempts: jsii.Number(10), MaximumEventAgeInSeconds: jsii.Number(2 * 60 * 60),
			},
		},
	})
}

// plainJSON is JSON in which < and > stand as they are: Scheduler looks for them.
func plainJSON(value any) (string, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(text.String(), "\n"), err
}

// schedulerRole is assumed for the schedules of the group only, and of this account.
func (s *stack) schedulerRole() awsiam.Role {
	group := s.arn("scheduler", "schedule-group/"+s.options.Stack)
	return awsiam.NewRole(s.scope, str("SchedulerRole"), &awsiam.RoleProps{
		Description: str("lifeboat: starts backups, drills and the watchdog on schedule"),
		AssumedBy: awsiam.NewServicePrincipal(str("scheduler.amazonaws.com"), &awsiam.ServicePrincipalOpts{
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": s.scope.Account(), "aws:SourceArn": group}},
		}),
	})
}
