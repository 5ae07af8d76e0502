// Package lambdafn is where the steps meet AWS Lambda: it is the only importer of aws-lambda-go.
//
// Start answers invocations. A message goes to its handler as it is, and the handler's answer goes back as it is. An
// error crosses the boundary under our own name (failure.Kind.ErrorName), which the state machine's Retry and Catch
// match, with the hint in its text; so does a panic, after which the process ends and Lambda starts another. A step is
// told to stop some time before Lambda would kill it, so that it can return a cursor; where it could not, the error is
// one that the state machine tries again.
//
// A World is what steps work with, read from the environment (see package deployed): configuration, vault, keys, mail.
// It is made at the first message and kept for the next ones; after a quarter of an hour it is made again, so that
// changed secrets reach a function that never rests.
//
// Logs are JSON lines with the field names of Powertools; metrics are lines in CloudWatch's Embedded Metric Format. X-Ray
// gets its trace id into every log line, and the SDK passes it on to the services that it calls.
package lambdafn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/step"
)

// Handler answers one message. Both are JSON.
type Handler func(ctx context.Context, message []byte) (json.RawMessage, error)

// Start answers the invocations of this process as the function of the given name. It does not return.
func Start(name string, handle Handler) {
	limitMemory(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
	logs := newLogs(os.Stdout, name)
	slog.SetDefault(logs.logger()) // aws-lambda-go reports errors through package log
	margin := deployed.DefaultMargin
	if e, err := deployed.Read(name, os.Getenv); err == nil { // what is wrong there, the World says
		margin = e.Margin
	}
	f := &function{handle: handle, logs: logs, margin: margin}
	lambda.Start(f)
}

// limitMemory lets the collector try to stay below three quarters of the function's memory, unless GOMEMLIMIT says
// otherwise: the rest is for stacks, and for what the system keeps.
func limitMemory(mebibytes string) {
	size, err := strconv.ParseInt(mebibytes, 10, 32)
	if err == nil && size > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(size << 20 / 4 * 3)
	}
}

// function answers invocations. Lambda asks for one at a time.
type function struct {
	handle  Handler
	logs    *logs
	margin  time.Duration
	invoked bool
}

// errTime is why a step is told to stop.
var errTime = errors.New("the time of the function is over")

// Invoke implements lambda.Handler.
func (f *function) Invoke(ctx context.Context, message []byte) (answer []byte, err error) {
	began := time.Now()
	f.logs.begin(f.about(ctx, message))
	log := f.logs.logger()
	defer func() {
		if value := recover(); value != nil {
			answer, err = nil, panicked(log, value)
		}
	}()
	working, stop := f.limited(ctx)
	defer stop()
	raw, err := f.handle(working, message)
	took := slog.Float64("duration_ms", milliseconds(time.Since(began)))
	if err != nil {
		crossing := boundary(working, err)
		log.Error("the invocation failed", "error", crossing.Message, "error_type", crossing.Type, took)
		return nil, crossing
	}
	log.Info("the invocation is done", took)
	return raw, nil
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*10) / 10
}

// limited ends some time before Lambda's own deadline; short functions keep most of what they have.
func (f *function) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(f.margin, time.Until(deadline)/4)
	return context.WithDeadlineCause(ctx, deadline.Add(-margin), errTime)
}

// boundary makes of an error what crosses the boundary: a value, unwrapped, as aws-lambda-go wants it.
func boundary(ctx context.Context, err error) messages.InvokeResponse_Error {
	if failure.KindOf(err) == failure.Canceled && errors.Is(context.Cause(ctx), errTime) {
		err = failure.New(failure.Transient, "%w: %w", errTime, err).
			WithHint("what the step did is kept; where it happens again, give the function more memory, which makes it faster")
	}
	b := step.Boundary{Err: err}
	return messages.InvokeResponse_Error{Type: b.ErrorName(), Message: b.Error()}
}

// panicked reports a panic. The process ends after it has answered: nobody knows what state it is in. The value of the
// panic may hold anything; its text goes no further than that of an error of ours.
func panicked(log *slog.Logger, value any) messages.InvokeResponse_Error {
	log.Error("the step panicked", "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	return messages.InvokeResponse_Error{
		Type: failure.Internal.ErrorName(), Message: fmt.Sprintf("a fault of lifeboat: %v", value), ShouldExit: true,
	}
}

// about collects what the log lines of an invocation say. Of the message it takes what it knows, and refuses nothing.
func (f *function) about(ctx context.Context, message []byte) []slog.Attr {
	cold := !f.invoked
	f.invoked = true
	attrs := []slog.Attr{slog.Bool("cold_start", cold)}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if l, ok := lambdacontext.FromContext(ctx); ok {
		add("function_request_id", l.AwsRequestID)
		add("function_arn", l.InvokedFunctionArn)
	}
	trace := os.Getenv("_X_AMZN_TRACE_ID")
	add("xray_trace_id", traceRoot(trace))
	var m struct {
		Step string `json:"step"`
		Run  struct {
			ID     string `json:"id"`
			Source string `json:"source"`
		} `json:"run"`
		Restore struct {
			ID string `json:"id"`
		} `json:"restore"`
		Scheduled
	}
	if change, ok := ended(message); ok { // what it is about stands in the execution's input
		m.Step, message = "closing", []byte(change.Detail.Input)
	}
	if json.Unmarshal(message, &m) == nil {
		add("step", m.Step)
		add("run", m.Run.ID)
		add("source", cmp.Or(m.Run.Source, m.source()))
		add("restore", m.Restore.ID)
	}
	return attrs
}
