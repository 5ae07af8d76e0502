package machine

import (
	"context"
	"encoding/json"
	"fmt"
)

// choose applies InputPath or OutputPath.
func (sc scope) choose(f flowPath) (any, error) {
	if f.null {
		return map[string]any{}, nil
	}
	v, ok := sc.find(f.path)
	if !ok {
		return nil, runtimeFault("Invalid path '%s': it could not be found in the input '%s'", f.path.src, text(sc.root(f.path)))
	}
	return v, nil
}

// put applies ResultPath: it writes a result into a state's raw input.
func put(f flowPath, raw, result any) (any, error) {
	if f.null {
		return raw, nil
	}
	out, ok := f.path.write(raw, result)
	if !ok {
		return nil, &fault{nameResultMismatch, fmt.Sprintf("Unable to apply step \"%s\" to input '%s'", f.path.src, text(raw))}
	}
	return out, nil
}

// finish turns the result of a state's work into its output.
func (s *state) finish(sc scope, raw, result any) (any, error) {
	var err error
	switch s.kind {
	case kindTask, kindMap, kindPass:
		if s.selector != nil {
			if result, err = s.selector.fill(scope{result, sc.context}); err != nil {
				return nil, err
			}
		}
		if result, err = put(s.result, raw, result); err != nil {
			return nil, err
		}
	}
	return scope{result, sc.context}.choose(s.output)
}

func (s *state) pass(sc scope) (any, error) {
	switch {
	case s.constant != nil:
		return s.constant.v, nil
	case s.parameters != nil:
		return s.parameters.fill(sc)
	}
	return sc.input, nil
}

// choose returns where a Choice goes.
func (s *state) choose(sc scope) (string, error) {
	for _, r := range s.choices {
		ok, err := r.test(sc)
		if err != nil {
			return "", err
		}
		if ok {
			return r.next, nil
		}
	}
	if s.orElse == "" {
		return "", &fault{nameNoChoice, fmt.Sprintf("Failed to transition out of the state '%s': no choice matched and there is no Default.", s.name)}
	}
	return s.orElse, nil
}

// fail returns the error of a Fail state.
func (s *state) fail(sc scope) error {
	name, err := failText(s.failing.name, sc, "ErrorPath")
	if err != nil {
		return err
	}
	cause, err := failText(s.failing.cause, sc, "CausePath")
	if err != nil {
		return err
	}
	return &fault{name, cause}
}

func failText(e expression, sc scope, field string) (string, error) {
	if e == nil {
		return "", nil
	}
	v, err := e.value(sc, field)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", runtimeFault("The field '%s' must be a string, not '%s'", field, text(v))
	}
	return s, nil
}

// invoke calls the function of a Task and wraps its answer as lambda:invoke does.
func (r *run) invoke(ctx context.Context, s *state, sc scope) (any, error) {
	filled, err := s.parameters.fill(sc)
	if err != nil {
		return nil, err
	}
	if _, err := checkSize(s.name, "parameters", filled); err != nil {
		return nil, err
	}
	parameters, _ := filled.(map[string]any)
	payload, err := encode(parameters["Payload"])
	if err != nil {
		return nil, err
	}
	if err := r.count(3); err != nil { // TaskScheduled, TaskStarted, and how it ended
		return nil, err
	}
	answer, err := r.call(ctx, s, payload)
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		answer = json.RawMessage("null")
	}
	v, err := decode(answer)
	if err != nil {
		return nil, taskFault(fmt.Errorf("the answer of %s is not JSON: %w", s.task.function, err))
	}
	result := map[string]any{"ExecutedVersion": "$LATEST", "StatusCode": json.Number("200"), "Payload": v}
	_, err = checkSize(s.name, "a result", result)
	return result, err
}

// call invokes the function of a Task within its time-out.
func (r *run) call(ctx context.Context, s *state, payload json.RawMessage) (json.RawMessage, error) {
	limited := ctx
	if s.task.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.task.timeout)
		defer cancel()
	}
	answer, err := r.engine.Invoke(limited, s.task.function, payload)
	switch {
	case ctx.Err() == nil && limited.Err() != nil:
		return nil, &fault{nameTimeout, fmt.Sprintf("The task took longer than %v.", s.task.timeout)}
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, errStopped
	}
	return nil, taskFault(err)
}
