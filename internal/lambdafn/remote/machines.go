package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"

	"lifeboat/events"
	"lifeboat/internal/failure"
)

// Machines are the state machines of a stack. They are safe for concurrent use.
type Machines struct {
	Client          *sfn.Client
	Backup, Restore string // ARNs
}

// Key names what must start once: the same request of the same caller, however often it is sent. The zero value is no
// key.
type Key struct {
	Who, Text string
}

// name returns the name of the execution that a key stands for. A name is one execution's for 90 days after its end.
func (k Key) name(subject string) string {
	digest := sha256.New()
	for _, word := range []string{subject, k.Who, k.Text} {
		fmt.Fprintf(digest, "%d:%s,", len(word), word)
	}
	return "key-" + hex.EncodeToString(digest.Sum(nil)[:20])
}

// errUsed is the error of a key that stands for something else already.
func errUsed() error {
	return failure.New(failure.Conflict, "the same Idempotency-Key came with another request before").
		WithHint("send a key of its own with each request, and the same one only to repeat it")
}

// StartBackup starts a backup, in an execution that has the name of the run, or of the key if there is one. before says
// that it was started before; the run is that one's then, with the id that it got. A key that came with something else
// is a Conflict.
func (m *Machines) StartBackup(ctx context.Context, run events.Run, key Key) (started events.Run, before bool, err error) {
	name := string(run.ID)
	if key.Text != "" {
		name = key.name("backup")
	}
	before, err = m.start(ctx, m.Backup, name, events.Input{Run: run})
	if !before || err != nil || key.Text == "" {
		return run, before, err
	}
	var first events.Input
	if err := m.input(ctx, m.Backup, name, &first); err != nil {
		return run, before, err
	}
	asked := run
	asked.ID = first.Run.ID
	if !same(asked, first.Run) {
		return run, before, errUsed()
	}
	return first.Run, true, nil
}

// StartRestore starts a restore that has its id. Without a key each call starts an attempt, and returns the name of its
// execution. With one, before says that it was started before; the restore is that one's then. "latest" is what it was
// when the first one came: wanted is how the caller has named the backup.
func (m *Machines) StartRestore(ctx context.Context, r events.Restore, wanted string, key Key, now time.Time) (started events.Restore, execution string, before bool, err error) {
	execution = fmt.Sprintf("%s-%d", r.ID, now.UnixMilli())
	if key.Text != "" {
		execution = key.name("restore")
	}
	before, err = m.start(ctx, m.Restore, execution, events.RestoreInput{Restore: r})
	if !before || err != nil {
		return r, execution, before, err
	}
	var first events.RestoreInput
	if err := m.input(ctx, m.Restore, execution, &first); err != nil {
		return r, execution, before, err
	}
	asked := r
	if names(wanted, first.Restore.From.Backup) {
		asked.ID, asked.From.Backup, asked.Trial = first.Restore.ID, first.Restore.From.Backup, first.Restore.Trial
		asked.Passed = first.Restore.Passed
	}
	if !same(asked, first.Restore) {
		return r, execution, before, errUsed()
	}
	return first.Restore, execution, true, nil
}

// names reports whether what a caller wrote could have named a backup, which is given as SOURCE:ID.
func names(wanted, backup string) bool {
	source, id, whole := strings.Cut(backup, ":")
	of, which, named := strings.Cut(wanted, ":")
	if !named {
		of, which = source, wanted
	}
	return whole && of == source && which != "" && (which == "latest" || strings.HasPrefix(id, which))
}

// same compares what two requests say on the wire.
func same(a, b any) bool {
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(two)
}

// start starts an execution. before reports that there is one of the name.
func (m *Machines) start(ctx context.Context, machine, name string, input any) (before bool, err error) {
	text, err := json.Marshal(input)
	if err != nil {
		return false, err
	}
	_, err = m.Client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &machine, Name: &name, Input: new(string(text))})
	if _, exists := errors.AsType[*types.ExecutionAlreadyExists](err); exists {
		return true, nil
	}
	if err != nil {
		return false, m.fault(err, "start", machine)
	}
	return false, nil
}

// input reads what an execution was started with.
func (m *Machines) input(ctx context.Context, machine, name string, into any) error {
	arn := executionOf(machine, name)
	out, err := m.Client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return m.fault(err, "ask", machine)
	}
	if err := json.Unmarshal([]byte(aws.ToString(out.Input)), into); err != nil {
		return failure.New(failure.Internal, "the execution %s has another input than lifeboat's", name)
	}
	return nil
}

// Outcome is how an execution stands.
type Outcome struct {
	Running, Succeeded bool
	Output             json.RawMessage // of one that succeeded
	Error              *events.Error   // of one that ended otherwise
}

// Backed asks how the execution of a backup stands; Restored that of a restore. NotFound where there is none.
func (m *Machines) Backed(ctx context.Context, name string) (Outcome, error) {
	return m.outcome(ctx, m.Backup, name)
}

// Restored is Backed for a restore.
func (m *Machines) Restored(ctx context.Context, name string) (Outcome, error) {
	return m.outcome(ctx, m.Restore, name)
}

func (m *Machines) outcome(ctx context.Context, machine, name string) (Outcome, error) {
	arn := executionOf(machine, name)
	out, err := m.Client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return Outcome{}, m.fault(err, "ask", machine)
	}
	switch out.Status {
	case types.ExecutionStatusRunning, types.ExecutionStatusPendingRedrive:
		return Outcome{Running: true}, nil
	case types.ExecutionStatusSucceeded:
		return Outcome{Succeeded: true, Output: json.RawMessage(aws.ToString(out.Output))}, nil
	case types.ExecutionStatusAborted:
		return Outcome{Error: &events.Error{Error: failure.Canceled.ErrorName(), Cause: cmp.Or(aws.ToString(out.Cause), "somebody stopped the execution")}}, nil
	case types.ExecutionStatusTimedOut:
		return Outcome{Error: &events.Error{Error: "States.Timeout", Cause: "the execution took longer than it may"}}, nil
	}
	why := events.Error{Error: aws.ToString(out.Error), Cause: aws.ToString(out.Cause)}
	if why.Error == "" {
		why = events.Error{Error: failure.Internal.ErrorName(), Cause: "the execution ended without saying why"}
	}
	return Outcome{Error: &why}, nil
}

// executionOf returns the ARN of an execution of a state machine.
func executionOf(machine, name string) string {
	return strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + name
}

// fault gives an error of the SDK its kind.
func (m *Machines) fault(err error, verb, machine string) error {
	doing := verb + " the state machine of backups"
	if machine == m.Restore {
		doing = verb + " the state machine of restores"
	}
	var api smithy.APIError
	var response *awshttp.ResponseError
	var network net.Error
	var exhausted *retry.MaxAttemptsError
	switch {
	case errors.As(err, &response) && response.HTTPStatusCode() >= 500:
		return failure.New(failure.Transient, "%s: the service answers %d", doing, response.HTTPStatusCode())
	case errors.As(err, &api):
		return failure.New(kindOf(api.ErrorCode()), "%s: %s (%s)", doing, api.ErrorMessage(), api.ErrorCode())
	case errors.Is(err, context.Canceled):
		return failure.New(failure.Canceled, "%s: %w", doing, err)
	case errors.As(err, &network), errors.As(err, &exhausted), errors.Is(err, context.DeadlineExceeded):
		return failure.New(failure.Transient, "%s: the service does not answer", doing)
	}
	return failure.New(failure.Internal, "%s: %w", doing, err)
}

func kindOf(code string) failure.Kind {
	switch code {
	case "StateMachineDoesNotExist", "ExecutionDoesNotExist":
		return failure.NotFound
	case "AccessDeniedException", "KmsAccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException":
		return failure.Denied
	case "ThrottlingException", "KmsThrottlingException":
		return failure.Transient
	case "ExecutionLimitExceeded":
		return failure.Exhausted
	}
	return failure.Internal
}
