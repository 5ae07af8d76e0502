package machine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lifeboat/internal/failure"
)

// Error names of the Amazon States Language that the runner itself raises or treats specially.
const (
	nameAll            = "States.ALL"
	nameTaskFailed     = "States.TaskFailed"
	nameTimeout        = "States.Timeout"
	nameRuntime        = "States.Runtime"
	nameDataLimit      = "States.DataLimitExceeded"
	nameNoChoice       = "States.NoChoiceMatched"
	nameThreshold      = "States.ExceedToleratedFailureThreshold"
	nameItemReader     = "States.ItemReaderFailed"
	nameResultWriter   = "States.ResultWriterFailed" // only Step Functions raises it
	nameIntrinsic      = "States.IntrinsicFailure"
	nameResultMismatch = "States.ResultPathMatchFailure"
)

// serviceNames are the names outside internal/failure that a Retry or a Catch may match: those of Step
// Functions that can be caught at all, and those of Lambda.
var serviceNames = []string{
	nameAll, nameTaskFailed, nameTimeout, nameNoChoice, nameThreshold, nameItemReader, nameResultWriter, nameIntrinsic,
	nameResultMismatch,
	"States.Permissions",
	"Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException",
	"Lambda.ClientExecutionTimeoutException", "Lambda.TooManyRequestsException", "Lambda.Unknown",
	"Sandbox.Timedout", "Runtime.ExitError", // the latter is what Lambda says of a process that died
}

// terminalNames are the names that nothing catches.
var terminalNames = []string{nameRuntime, nameDataLimit}

func isTerminal(name string) bool { return slices.Contains(terminalNames, name) }

func knownErrorName(name string) bool {
	_, ours := failure.KindOfName(name)
	return ours || slices.Contains(serviceNames, name)
}

// fault is an error in the sense of the Amazon States Language: Retry and Catch match its name.
type fault struct {
	name, cause string
}

func (f *fault) Error() string {
	if f.cause == "" {
		return f.name
	}
	return f.name + ": " + f.cause
}

// output is what a Catch writes at its ResultPath.
func (f *fault) output() map[string]any {
	return map[string]any{"Error": f.name, "Cause": f.cause}
}

func runtimeFault(format string, args ...any) error {
	return &fault{nameRuntime, fmt.Sprintf(format, args...)}
}

// matches tells whether a list of ErrorEquals covers an error's name.
func matches(errorEquals []string, name string) bool {
	if isTerminal(name) {
		return false
	}
	return slices.ContainsFunc(errorEquals, func(pattern string) bool {
		return pattern == name || pattern == nameAll || pattern == nameTaskFailed && name != nameTimeout
	})
}

// maxMessage keeps a cause below the 32,768 characters that Step Functions allows.
const maxMessage = 30_000

// taskFault turns the error of a function into what Lambda would have answered.
func taskFault(err error) *fault {
	name := failure.KindOf(err).ErrorName()
	var named interface{ ErrorName() string }
	if errors.As(err, &named) {
		name = named.ErrorName()
	}
	message := err.Error()
	message = strings.ToValidUTF8(message[:min(len(message), maxMessage)], "")
	return &fault{name, text(map[string]any{"errorMessage": message, "errorType": name})}
}
