package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsbudgets"
	"github.com/aws/jsii-runtime-go"
)

// makeBudget makes a monthly budget of what has the tag of the stack; its mail goes to the addresses that hear of alarms.
// AWS counts by a tag from the day on that somebody activates it for the bill, which no stack can do.
func (s *stack) makeBudget() {
	if s.options.Budget == 0 {
		return
	}
	var told []awsbudgets.CfnBudget_SubscriberProperty
	for _, address := range s.options.Alarms {
		told = append(told, awsbudgets.CfnBudget_SubscriberProperty{SubscriptionType: str("EMAIL"), Address: str(address)})
	}
	notify := func(kind string, percent float64) awsbudgets.CfnBudget_NotificationWithSubscribersProperty {
		return awsbudgets.CfnBudget_NotificationWithSubscribersProperty{
			Notification: awsbudgets.CfnBudget_NotificationProperty{
				NotificationType: str(kind), ComparisonOperator: str("GREATER_THAN"), Threshold: jsii.Number(percent), ThresholdType: str("PERCENTAGE"),
			},
			Subscribers: told,
		}
	}
	awsbudgets.NewCfnBudget(s.scope, str("Budget"), &awsbudgets.CfnBudgetProps{
		Budget: awsbudgets.CfnBudget_BudgetDataProperty{
			BudgetType: str("COST"), TimeUnit: str("MONTHLY"),
			BudgetLimit: awsbudgets.CfnBudget_SpendProperty{Amount: jsii.Number(float64(s.options.Budget)), Unit: str("USD")},
			CostFilters: map[string][]string{"TagKeyValue": {"user:" + stackTag + "$" + s.options.Stack}},
		},
		NotificationsWithSubscribers: []awsbudgets.CfnBudget_NotificationWithSubscribersProperty{notify("ACTUAL", 80), notify("FORECASTED", 100)},
	})
}
