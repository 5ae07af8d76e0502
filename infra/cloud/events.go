package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// publish puts an event on the bus: each rule that matches sends it to its targets.
func (c *Cloud) publish(event map[string]any) {
	for _, id := range c.Template.Of("AWS::Events::Rule") {
		p := c.properties(id)
		if text(p, "State") != "ENABLED" || p["EventPattern"] == nil {
			continue
		}
		if matches(p["EventPattern"], event) {
			c.fire(id, event)
		}
	}
}

// matches reports whether a pattern matches an event: each of its fields is a list of which one value is the event's. Other
// forms of patterns match nothing.
func matches(pattern, event any) bool {
	switch pattern := pattern.(type) {
	case map[string]any:
		for name, below := range pattern {
			if !matches(below, at(event, name)) {
				return false
			}
		}
		return true
	case []any:
		return slices.Contains(strs(pattern), fmt.Sprint(event))
	}
	return false
}

// fire sends an event to all targets of a rule at the same time. What a function does not take is tried again once all have
// been asked, as often as the function's configuration says: minutes later on AWS.
func (c *Cloud) fire(rule string, event map[string]any) {
	targets, _ := c.properties(rule)["Targets"].([]any)
	ruleARN := c.resolver.attribute(rule, "Arn")
	payload, _ := json.Marshal(event) // it was made here
	type delivery struct {
		f     *Function
		tries int
		err   error
	}
	var due []*delivery
	for _, target := range targets {
		f := c.functions[text(target, "Arn")]
		changed := at(target, "Input") != nil || at(target, "InputPath") != nil || at(target, "InputTransformer") != nil
		if f == nil || changed || !c.permitted(f, "events.amazonaws.com", ruleARN) {
			c.undelivered(text(target, "DeadLetterConfig", "Arn"), "events.amazonaws.com", ruleARN, string(payload))
			continue
		}
		due = append(due, &delivery{f: f})
	}
	for len(due) > 0 {
		var group sync.WaitGroup
		for _, d := range due {
			group.Go(func() { _, d.err = c.invoke(context.Background(), d.f, payload) })
		}
		group.Wait()
		due = slices.DeleteFunc(due, func(d *delivery) bool {
			d.tries++
			over := d.tries > c.attempts(d.f)
			if d.err != nil && over {
				c.unanswered(d.f, string(payload))
			}
			return d.err == nil || over
		})
	}
}

// permitted reports whether the policy of a function lets a service invoke it for something.
func (c *Cloud) permitted(f *Function, service, source string) bool {
	for _, id := range c.Template.Of("AWS::Lambda::Permission") {
		p := c.properties(id)
		if text(p, "FunctionName") == f.ARN && text(p, "Principal") == service && text(p, "Action") == "lambda:InvokeFunction" && Like(text(p, "SourceArn"), source) {
			return true
		}
	}
	c.access.refuse(service + ": lambda:InvokeFunction " + f.ID + " for " + source)
	return false
}

// asynchronous is the configuration of a function's asynchronous invocations; nil for none.
func (c *Cloud) asynchronous(f *Function) map[string]any {
	for _, id := range c.Template.Of("AWS::Lambda::EventInvokeConfig") {
		if p := c.properties(id); text(p, "FunctionName") == f.Name {
			return p
		}
	}
	return nil
}

// attempts is how often an asynchronous invocation is tried again.
func (c *Cloud) attempts(f *Function) int {
	if n, ok := index(at(c.asynchronous(f), "MaximumRetryAttempts")); ok {
		return n
	}
	return 2 // what Lambda does where nobody says
}

// unanswered keeps what a function could not answer, in its name.
func (c *Cloud) unanswered(f *Function, message string) {
	queue := text(c.asynchronous(f), "DestinationConfig", "OnFailure", "Destination")
	if queue != "" && c.access.may(request{principal: f.role, action: "sqs:SendMessage", resource: queue, context: secure}) {
		c.send(queue, message)
	}
}

// secure is what every request within AWS is.
var secure = map[string]string{"aws:SecureTransport": "true"}

// undelivered keeps what a service could not deliver.
func (c *Cloud) undelivered(queue, service, source, message string) {
	context := map[string]string{"aws:SecureTransport": "true", "aws:SourceArn": source, "aws:SourceAccount": Account}
	if queue != "" && c.access.may(request{service, "sqs:SendMessage", queue, context}) {
		c.send(queue, message)
	}
}

func (c *Cloud) send(queue, message string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.queues[queue] = append(c.queues[queue], message)
}

// Queue returns the messages of a queue of the template, by its id without CDK's digest.
func (c *Cloud) Queue(id string) []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, known := range c.Template.Of("AWS::SQS::Queue") {
		if plain(known) == id {
			return slices.Clone(c.queues[c.resolver.attribute(known, "Arn")])
		}
	}
	return nil
}

// Tick sends what a schedule sends at a time, as its role, to a function or a state machine. A function's answer comes
// back, which nobody hears on AWS; of a state machine the name of the execution.
func (c *Cloud) Tick(ctx context.Context, schedule string, now time.Time, execution string) (string, error) {
	r := c.Template.Resources[schedule]
	if r == nil || r.Type != "AWS::Scheduler::Schedule" {
		return "", fmt.Errorf("there is no schedule %s", schedule)
	}
	target, role := text(r.Properties, "Target", "Arn"), text(r.Properties, "Target", "RoleArn")
	group := arn("scheduler", "schedule-group/"+text(r.Properties, "GroupName"))
	if !c.access.assumes("scheduler.amazonaws.com", role, map[string]string{"aws:SourceAccount": Account, "aws:SourceArn": group}) {
		return "", fmt.Errorf("scheduler may not assume the role of %s", schedule)
	}
	input := strings.ReplaceAll(text(r.Properties, "Target", "Input"), "<aws.scheduler.scheduled-time>", now.UTC().Format(time.RFC3339))
	if strings.Contains(input, "<aws.") {
		return "", fmt.Errorf("the schedule %s sends something that nobody puts in: %s", schedule, input)
	}
	if f := c.functions[target]; f != nil {
		if !c.access.may(request{principal: role, action: "lambda:InvokeFunction", resource: target}) {
			return "", c.late(role, r, input)
		}
		answer, err := c.invoke(ctx, f, []byte(input))
		return string(answer), err
	}
	if c.machines[target] == nil {
		return "", fmt.Errorf("the schedule %s reaches %s, which is not there", schedule, target)
	}
	if !c.access.may(request{principal: role, action: "states:StartExecution", resource: target}) {
		return "", c.late(role, r, input)
	}
	_, err := c.Start(target, execution, []byte(input))
	return execution, err
}

// late keeps what a schedule could not deliver, in its role's name.
func (c *Cloud) late(role string, schedule *Resource, input string) error {
	queue := text(schedule.Properties, "Target", "DeadLetterConfig", "Arn")
	if c.access.may(request{principal: role, action: "sqs:SendMessage", resource: queue, context: secure}) {
		c.send(queue, input)
	}
	return fmt.Errorf("the role of the schedule does not allow it")
}
