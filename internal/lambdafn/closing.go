package lambdafn

import (
	"encoding/json"
	"slices"

	"lifeboat/events"
	"lifeboat/internal/failure"
)

// statusChange is what EventBridge says when an execution of a state machine has ended. Envelopes of AWS are decoded
// leniently.
type statusChange struct {
	Source string `json:"source"`
	Kind   string `json:"detail-type"`
	Detail struct {
		Name   string `json:"name"`
		Status string `json:"status"`
		Input  string `json:"input"`
		Error  string `json:"error"`
		Cause  string `json:"cause"`
	} `json:"detail"`
}

// closing makes of an event that says how an execution ended the message that closes its run: what a state machine
// cannot catch (States.Runtime, a time-out of the whole, somebody who stops it) ends there. subject is "run" for the
// machine of backups, "restore" for that of restores. Closing twice does no harm. Any other message is returned as it is.
func closing(message []byte, subject string) ([]byte, error) {
	change, ok := ended(message)
	if !ok {
		return message, nil
	}
	input, err := subjectOf(change, subject)
	if err != nil {
		return nil, err
	}
	step := map[string]string{"run": "abort", "restore": "release"}[subject]
	// By the execution's name a run is told from a second execution of it, and a target is held.
	return json.Marshal(map[string]any{"step": step, subject: input, "error": change.reason(), "execution": change.Detail.Name})
}

// telling is closing for the function that tells people.
func telling(message []byte) (told []byte, restore bool, err error) {
	change, ok := ended(message)
	if !ok {
		var m struct {
			Restore json.RawMessage `json:"restore"`
		}
		_ = json.Unmarshal(message, &m) // who decodes it strictly says what is wrong with it
		return message, m.Restore != nil, nil
	}
	if input, err := subjectOf(change, "run"); err == nil {
		told, err = json.Marshal(map[string]any{"step": "notify", "run": input})
		return told, false, err
	}
	input, err := subjectOf(change, "restore")
	if err != nil {
		return nil, false, err
	}
	told, err = json.Marshal(map[string]any{"step": "notify-restore", "restore": input, "execution": change.Detail.Name})
	return told, true, err
}

// ended reports whether the message says that an execution has ended in another way than well.
func ended(message []byte) (statusChange, bool) {
	var change statusChange
	err := json.Unmarshal(message, &change)
	bad := slices.Contains([]string{"FAILED", "TIMED_OUT", "ABORTED"}, change.Detail.Status)
	return change, err == nil && bad && change.Source == "aws.states" && change.Kind == "Step Functions Execution Status Change"
}

// subjectOf returns what the execution was about, from its input.
func subjectOf(change statusChange, subject string) (json.RawMessage, error) {
	var input map[string]json.RawMessage
	if err := json.Unmarshal([]byte(change.Detail.Input), &input); err != nil || input[subject] == nil {
		return nil, failure.New(failure.Usage, "the execution that ended (%s) has no %s in its input", change.Detail.Status, subject)
	}
	return input[subject], nil
}

// reason is why the run failed, as a state machine would have caught it.
func (c statusChange) reason() events.Error {
	switch {
	case c.Detail.Error != "":
		return events.Error{Error: c.Detail.Error, Cause: c.Detail.Cause}
	case c.Detail.Status == "ABORTED":
		return events.Error{Error: failure.Canceled.ErrorName(), Cause: "somebody stopped the execution"}
	case c.Detail.Status == "TIMED_OUT":
		return events.Error{Error: "States.Timeout", Cause: "the execution took longer than it may"}
	}
	return events.Error{Error: failure.Internal.ErrorName(), Cause: "the execution ended without saying why"}
}
