package stack

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/aws-cdk-go/awscdk/v2/interfaces/interfacesawscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/deployment"
	"lifeboat/internal/lambdafn/deployed"
)

// namespace is that of the functions' own metrics: lambdafn.Namespace, which a test compares.
const namespace = "Lifeboat"

// alarm is how much of what is wrong, and what it means if nobody says.
type alarm struct {
	metric  awscloudwatch.IMetric
	missing awscloudwatch.TreatMissingData
}

// makeWatch makes the topic that people are told by, the five alarms and the dashboard.
func (s *stack) makeWatch() {
	s.failures = awssns.NewTopic(s.scope, str("Failures"), &awssns.TopicProps{
		DisplayName: str("lifeboat " + s.options.Stack), MasterKey: s.key, EnforceSSL: jsii.Bool(true),
	})
	// A topic with a policy of its own has no longer the one that lets alarms publish.
	s.failures.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: str("Alarms"), Effect: awsiam.Effect_ALLOW, Actions: strs("sns:Publish"), Resources: &[]*string{s.failures.TopicArn()},
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(str("cloudwatch.amazonaws.com"), nil)},
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": s.scope.Account()}},
	}))
	for _, address := range s.options.Alarms {
		s.failures.AddSubscription(awssnssubscriptions.NewEmailSubscription(str(address), nil))
	}
	var alarms []interfacesawscloudwatch.IAlarmRef
	metrics := s.alarms()
	for _, about := range deployment.Alarms {
		a := metrics[about.ID]
		made := awscloudwatch.NewAlarm(s.scope, str(about.ID), &awscloudwatch.AlarmProps{
			AlarmDescription: str("lifeboat " + s.options.Stack + ": " + about.Says + " What to do: docs/runbook.md#when-something-fails"),
			Metric:           a.metric, Threshold: jsii.Number(1), EvaluationPeriods: jsii.Number(1),
			ComparisonOperator: awscloudwatch.ComparisonOperator_GREATER_THAN_OR_EQUAL_TO_THRESHOLD, TreatMissingData: a.missing,
		})
		made.AddAlarmAction(awscloudwatchactions.NewSnsAction(s.failures))
		made.AddOkAction(awscloudwatchactions.NewSnsAction(s.failures))
		alarms = append(alarms, made)
	}
	s.dashboard(alarms)
}

func (s *stack) alarms() map[string]alarm {
	const nothing = awscloudwatch.TreatMissingData_NOT_BREACHING
	silence := nothing
	for _, source := range s.options.Sources {
		if source.Overdue > 0 { // the watchdog itself must not fall silent
			silence = awscloudwatch.TreatMissingData_BREACHING
		}
	}
	failed, undone, throttled := sum{}, sum{}, sum{}
	for _, m := range []awsstepfunctions.StateMachine{s.machines.backup, s.machines.restore} {
		for _, metric := range []string{"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"} {
			failed.add(m.Metric(str(metric), total()))
		}
		throttled.add(m.Metric(str("ExecutionThrottled"), total()))
	}
	for _, queue := range s.undone.all() {
		undone.add(queue.MetricApproximateNumberOfMessagesVisible(&awscloudwatch.MetricOptions{Statistic: str("Maximum"), Period: minutes(5)}))
	}
	for _, f := range deployed.Functions {
		throttled.add(s.functions[f.Name].MetricThrottles(total()))
	}
	return map[string]alarm{
		"FailedAlarm":    {failed.metric("runs that failed", 5), nothing},
		"OverdueAlarm":   {s.own("Overdue", 2*deployment.WatchEvery), silence},
		"UndoneAlarm":    {undone.metric("messages that nobody could handle", 5), nothing},
		"DamagedAlarm":   {s.own("VerifyFailures", 2*deployment.WatchEvery), nothing},
		"ThrottledAlarm": {throttled.metric("throttled", 5), nothing},
	}
}

func minutes(n float64) awscdk.Duration { return awscdk.Duration_Minutes(jsii.Number(n)) }

func total() *awscloudwatch.MetricOptions {
	return &awscloudwatch.MetricOptions{Statistic: str("Sum"), Period: minutes(5)}
}

// own is a metric that the functions write, of the whole stack.
func (s *stack) own(name string, period time.Duration) awscloudwatch.IMetric {
	return awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
		Namespace: str(namespace), MetricName: str(name), DimensionsMap: &map[string]*string{"Stack": str(s.options.Stack)},
		Statistic: str("Maximum"), Period: minutes(period.Minutes()),
	})
}

// sum adds metrics up. An alarm takes ten of them.
type sum struct {
	metrics map[string]awscloudwatch.IMetric
}

func (m *sum) add(metric awscloudwatch.IMetric) {
	if m.metrics == nil {
		m.metrics = map[string]awscloudwatch.IMetric{}
	}
	m.metrics[fmt.Sprintf("m%d", len(m.metrics))] = metric
}

func (m *sum) metric(label string, period float64) awscloudwatch.IMetric {
	return awscloudwatch.NewMathExpression(&awscloudwatch.MathExpressionProps{
		Expression: str("SUM(METRICS())"), UsingMetrics: &m.metrics, Label: str(label), Period: minutes(period),
	})
}

// dashboard shows what one looks for first: the alarms, then how old the newest good backup of each source is.
func (s *stack) dashboard(alarms []interfacesawscloudwatch.IAlarmRef) {
	board := awscloudwatch.NewDashboard(s.scope, str("Dashboard"), &awscloudwatch.DashboardProps{DashboardName: str(s.options.Stack), DefaultInterval: days(14)})
	var ages, sizes, durations []awscloudwatch.IMetric
	for _, source := range s.options.Config.Sources {
		name := string(source.Name)
		ages = append(ages, s.ofSource("LastGoodAge", name, "Maximum"))
		sizes = append(sizes, s.ofSource("Bytes", name, "Maximum"), s.ofSource("PackedBytes", name, "Sum"))
		durations = append(durations, s.ofSource("Duration", name, "Maximum"))
	}
	var runs []awscloudwatch.IMetric
	for _, m := range []awsstepfunctions.StateMachine{s.machines.backup, s.machines.restore} {
		runs = append(runs, m.Metric(str("ExecutionsSucceeded"), total()), m.Metric(str("ExecutionsFailed"), total()))
	}
	board.AddWidgets(awscloudwatch.NewAlarmStatusWidget(&awscloudwatch.AlarmStatusWidgetProps{Title: str("Alarms"), Alarms: &alarms, Width: jsii.Number(24)}))
	board.AddWidgets(graph("Age of the newest good backup (s)", ages), graph("Runs", runs))
	board.AddWidgets(graph("Bytes of a backup, and what it packed", sizes), graph("Duration (s)", durations))
}

func (s *stack) ofSource(metric, source, statistic string) awscloudwatch.IMetric {
	return awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
		Namespace: str(namespace), MetricName: str(metric), Statistic: str(statistic), Period: minutes(60), Label: str(source + " " + metric),
		DimensionsMap: &map[string]*string{"Stack": str(s.options.Stack), "Source": str(source)},
	})
}

func graph(title string, metrics []awscloudwatch.IMetric) awscloudwatch.IWidget {
	return awscloudwatch.NewGraphWidget(&awscloudwatch.GraphWidgetProps{Title: str(title), Left: &metrics, Width: jsii.Number(12)})
}
