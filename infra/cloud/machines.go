package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/machine"
)

// Machine is a deployed state machine.
type Machine struct {
	ID   string // without CDK's digest
	ARN  string
	role string

	loaded *machine.Machine
	writes bool // results of Distributed Maps
}

// Machine returns the machine of an id; nil for none.
func (c *Cloud) Machine(id string) *Machine {
	for _, m := range c.machines {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// makeMachines loads the definitions with the substitutions of the template: what stands for a function is its ARN.
func (c *Cloud) makeMachines(context.Context) error {
	for _, id := range c.Template.Of("AWS::StepFunctions::StateMachine") {
		p := c.properties(id)
		bound := map[string]string{}
		substitutions, _ := p["DefinitionSubstitutions"].(map[string]any)
		for name, value := range substitutions {
			bound[name] = fmt.Sprint(value)
		}
		loaded, err := machine.Load([]byte(text(p, "DefinitionString")), bound, machine.WithName(c.resolver.name(id)))
		if err != nil {
			return err
		}
		m := &Machine{ID: plain(id), ARN: c.resolver.attribute(id, "Arn"), role: text(p, "RoleArn"), loaded: loaded, writes: strings.Contains(text(p, "DefinitionString"), `"ResultWriter"`)}
		if !c.access.assumes("states.amazonaws.com", m.role, map[string]string{"aws:SourceAccount": Account, "aws:SourceArn": m.ARN}) {
			return fmt.Errorf("step Functions may not assume the role of %s", id)
		}
		c.machines[m.ARN] = m
	}
	return nil
}

// Execution is one of a state machine.
type Execution struct {
	Machine *Machine
	Name    string
	Input   string
	Outcome machine.Outcome // once it has ended

	done chan struct{} // closed once it has ended and everybody who listens has been told
	stop context.CancelFunc
}

// Start starts an execution as somebody does who may. A name that is taken is an error.
func (c *Cloud) Start(machineARN, name string, input []byte) (*Execution, error) {
	body, err := json.Marshal(map[string]string{"stateMachineArn": machineARN, "name": name, "input": string(input)})
	if err != nil {
		return nil, err
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
	r.Header.Set("X-Amz-Target", "AWSStepFunctions.StartExecution")
	w := httptest.NewRecorder()
	c.Services.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("start %s: %s", name, w.Body)
	}
	return c.execution(name), nil
}

// execution returns an execution that was started, or is about to be.
func (c *Cloud) execution(name string) *Execution {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	e := c.executions[name]
	if e == nil {
		e = &Execution{Name: name, done: make(chan struct{}), stop: func() {}}
		c.executions[name] = e
	}
	return e
}

// started runs an execution to its end, and tells of it.
func (c *Cloud) started(arn, name, input string) {
	e := c.execution(name)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	c.mutex.Lock()
	e.Machine, e.Input, e.stop = c.machines[arn], input, stop
	c.mutex.Unlock()
	c.running.Add(1)
	defer c.running.Done()
	defer close(e.done)
	if e.Machine == nil {
		e.Outcome = machine.Outcome{Status: machine.Failed, Error: "StateMachineDoesNotExist"}
		return
	}
	outcome, err := c.engine(e.Machine).Execute(ctx, e.Machine.loaded, machine.Execution{Name: name, Input: json.RawMessage(input)})
	if err != nil {
		outcome = machine.Outcome{Status: machine.Failed, Error: "States.Runtime", Cause: err.Error()}
	}
	e.Outcome = outcome
	c.Services.End(name, runtimeapi.Ended{Status: string(outcome.Status), Output: string(outcome.Output), Error: outcome.Error, Cause: outcome.Cause})
	c.publish(c.statusChange(e))
}

// Wait waits until an execution has ended, and everybody who listens has been told.
func (c *Cloud) Wait(ctx context.Context, e *Execution) (machine.Outcome, error) {
	select {
	case <-e.done:
		return e.Outcome, nil
	case <-ctx.Done():
		return machine.Outcome{}, ctx.Err()
	}
}

// Execution waits for the execution of a name.
func (c *Cloud) Execution(ctx context.Context, name string) (machine.Outcome, error) {
	return c.Wait(ctx, c.execution(name))
}

// Stop stops an execution, as somebody does in the console.
func (c *Cloud) Stop(e *Execution) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	e.stop()
}

// denied is what a task fails with where the role of its machine has no right.
type denied string

func (d denied) Error() string     { return string(d) }
func (d denied) ErrorName() string { return "Lambda.AccessDeniedException" }

// engine executes a machine, as its role.
func (c *Cloud) engine(m *Machine) *machine.Engine {
	return &machine.Engine{
		Rand: func() float64 { return 0 }, // nobody waits before trying again
		Invoke: func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
			if !c.access.may(request{principal: m.role, action: "lambda:InvokeFunction", resource: function}) {
				return nil, denied("the role of " + m.ID + " does not allow it")
			}
			f := c.functions[function]
			if f == nil {
				return nil, errors.New("there is no function " + function)
			}
			return c.invoke(ctx, f, payload)
		},
		Read: func(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
			return c.readItems(ctx, m, bucket, key)
		},
	}
}

// readItems begins a Distributed Map: it reads its items, starts executions of the same machine and writes results, as its
// role. The results go beside the list, which is below the same prefix as where they belong: nobody tells where that is.
func (c *Cloud) readItems(ctx context.Context, m *Machine, bucket, key string) (io.ReadCloser, error) {
	may := func(action, resource string) bool {
		return c.access.may(request{principal: m.role, action: action, resource: resource})
	}
	encrypted := c.keys["arn:aws:s3:::"+bucket]
	if !may("s3:GetObject", "arn:aws:s3:::"+bucket+"/"+key) || encrypted != "" && !c.mayKey(m.role, "kms:Decrypt", encrypted, "s3") ||
		!may("states:StartExecution", m.ARN) {
		return nil, denied("the role of " + m.ID + " does not allow a Distributed Map")
	}
	if m.writes {
		manifest := path.Dir(key) + "/results/5f0e/manifest.json"
		if !may("s3:PutObject", "arn:aws:s3:::"+bucket+"/"+manifest) || encrypted != "" && !c.mayKey(m.role, "kms:GenerateDataKey", encrypted, "s3") {
			return nil, denied("the role of " + m.ID + " does not allow a ResultWriter")
		}
		if err := c.Put(ctx, bucket, manifest, []byte("{}")); err != nil {
			return nil, err
		}
	}
	out, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}

func executionARN(machineARN, name string) string {
	return strings.Replace(machineARN, ":stateMachine:", ":execution:", 1) + ":" + name
}

// statusChange is what Step Functions says of an execution that has ended.
func (c *Cloud) statusChange(e *Execution) map[string]any {
	null := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	execution := executionARN(e.Machine.ARN, e.Name)
	now := time.Now()
	return map[string]any{
		"version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "detail-type": "Step Functions Execution Status Change",
		"source": "aws.states", "account": Account, "time": now.UTC().Format(time.RFC3339), "region": Region, "resources": []any{execution},
		"detail": map[string]any{
			"executionArn": execution, "stateMachineArn": e.Machine.ARN, "name": e.Name, "status": string(e.Outcome.Status),
			"startDate": now.Add(-time.Minute).UnixMilli(), "stopDate": now.UnixMilli(), "input": e.Input, "inputDetails": map[string]any{"included": true},
			"output": null(string(e.Outcome.Output)), "outputDetails": map[string]any{"included": true},
			"error": null(e.Outcome.Error), "cause": null(e.Outcome.Cause),
		},
	}
}

// Running returns the executions that have not ended.
func (c *Cloud) Running() []*Execution {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var running []*Execution
	for _, e := range c.executions {
		select {
		case <-e.done:
		default:
			running = append(running, e)
		}
	}
	return running
}
