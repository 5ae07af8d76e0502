// Package cloud brings a CloudFormation template of lifeboat to life on loopback, for tests: the resources of the template
// and nothing beside it, each as far as a whole backup and a whole restore need it.
//
//	AWS::Lambda::Function            a process of the program in its zip, behind package runtimeapi
//	AWS::IAM::Role, Policy           asked at each request that a function, a machine or a schedule makes
//	AWS::S3::Bucket, BucketPolicy    a bucket of the embedded vault; versions and locks as the template has them
//	AWS::KMS::Key, …::Secret         asked with every object and every secret that they protect
//	AWS::StepFunctions::StateMachine package machine, with the substitutions of the template
//	AWS::Events::Rule                matched against what Step Functions says of each execution that has ended
//	AWS::Scheduler::Schedule         sent when a test says that it is time
//	AWS::ApiGatewayV2::…             asked by tests: routes, authorizers, integrations, permissions
//	AWS::Lambda::Permission, EventInvokeConfig, AWS::SQS::Queue
//
// What a template holds and is not understood here (a function, a condition of a policy, a pattern of events) is an
// error, never passed over.
//
// # What differs from AWS
//
// Time: retries don't wait. TLS is taken as given. Who signs a request is told from the address that it comes to: each
// function has its own, and all have the same credentials. Requests of KMS are not made, but asked of IAM where S3 and
// Secrets Manager would make them. There are no quotas, and no delay between a change and its effect.
package cloud

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Account and Region are where the stack is deployed. The region is that of the embedded vault.
const (
	Account = "111122223333"
	Region  = "us-east-1"
)

func arn(service, resource string) string {
	return "arn:aws:" + service + ":" + Region + ":" + Account + ":" + resource
}

// Options are what a stack finds in its account, and what a test adds to what the template says.
type Options struct {
	Folder   string // an empty one
	Log      *os.File
	Buckets  map[string]string // buckets that are there already → ARN of the key they are encrypted with, or ""
	Owners   map[string]string // accounts of buckets that are not the stack's, by name: to IAM, no more
	Secrets  map[string]Secret // by name
	Verified []string          // addresses and domains that SES sends to, as the account is in its sandbox; beside the sender's
	Variable []string          // NAME=value that every function gets beside those of the template
	// Asset changes what is uploaded, by its object key; nil: nothing.
	Asset func(key string, data []byte) []byte
	// Without takes statements away: those that it is true for, of a role named by its id. nil: none.
	Without func(role, action, resource string) bool
}

// Secret is one of Secrets Manager, with the key that it is encrypted with, "" for the account's own.
type Secret struct {
	Value, Key string
}

// Cloud is a stack that is deployed. Its methods are safe for concurrent use.
type Cloud struct {
	Template *Template
	S3       *s3.Client // of the account's owner: nobody asks what it may
	Services *runtimeapi.Services

	options   Options
	resolver  *resolver
	server    *local.Server
	access    *access
	functions map[string]*Function // by ARN
	machines  map[string]*Machine  // by ARN
	keys      map[string]string    // ARN of a bucket or secret → ARN of its key
	secrets   map[string]string    // name or ARN of a secret → ARN
	closers   []func()

	mutex      sync.Mutex
	executions map[string]*Execution
	queues     map[string][]string // ARN → messages
	running    sync.WaitGroup
}

// New deploys a template. Close ends it.
func New(ctx context.Context, t *Template, o Options) (*Cloud, error) {
	c := &Cloud{
		Template: t, options: o, resolver: newResolver(t), functions: map[string]*Function{}, machines: map[string]*Machine{},
		keys: map[string]string{}, secrets: map[string]string{}, executions: map[string]*Execution{}, queues: map[string][]string{},
		access: &access{
			roles: map[string][]statement{}, resources: map[string][]statement{}, trusts: map[string][]statement{}, names: map[string]string{},
			used: map[right]bool{},
		},
		Services: &runtimeapi.Services{Secrets: map[string]string{}, Parameters: map[string]string{}, MACs: map[string][]byte{}},
	}
	c.Services.Started = c.started
	for _, make := range []func(context.Context) error{
		c.resolve, c.makePolicies, c.makeSecrets, c.makeVault, c.makeBuckets, c.upload, c.makeFunctions, c.makeMachines,
	} {
		if err := make(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends every process, and waits for what is under way.
func (c *Cloud) Close() {
	for _, e := range c.executions {
		e.stop()
	}
	c.running.Wait()
	for _, f := range c.functions {
		f.Close()
	}
	for _, end := range slices.Backward(c.closers) {
		end()
	}
}

// resolve puts values in the place of all functions of the template, its outputs too.
func (c *Cloud) resolve(context.Context) error {
	resolved := map[string]map[string]any{}
	for id, r := range c.Template.Resources {
		resolved[id], _ = c.resolver.value(r.Properties).(map[string]any)
	}
	for id, properties := range resolved { // not before: others refer to what names them
		c.Template.Resources[id].Properties = properties
	}
	for name, output := range c.Template.Outputs {
		output.Value = c.resolver.value(output.Value)
		c.Template.Outputs[name] = output
	}
	if len(c.resolver.problems) > 0 {
		slices.Sort(c.resolver.problems)
		return fmt.Errorf("the template: %s", strings.Join(slices.Compact(c.resolver.problems), "; "))
	}
	return nil
}

// properties are those of a resource, resolved.
func (c *Cloud) properties(id string) map[string]any { return c.Template.Resources[id].Properties }

// How long IAM takes the policy of a role, and a managed one.
const mostInline, mostManaged = 10240, 6144

// makePolicies reads who may do what.
func (c *Cloud) makePolicies(context.Context) error {
	var problems []error
	add := func(to map[string][]statement, holder, where string, document any) {
		all, err := statements(where, document)
		problems = append(problems, err)
		to[holder] = append(to[holder], all...)
	}
	a := c.access
	for _, id := range c.Template.Of("AWS::IAM::Role") {
		role, p := c.resolver.attribute(id, "Arn"), c.properties(id)
		a.names[role] = plain(id)
		add(a.trusts, role, id, p["AssumeRolePolicyDocument"])
		inline, _ := p["Policies"].([]any)
		for _, policy := range inline {
			add(a.roles, role, id, at(policy, "PolicyDocument"))
		}
		if p["ManagedPolicyArns"] != nil || p["PermissionsBoundary"] != nil {
			problems = append(problems, fmt.Errorf("the role %s has policies that are not in the template", id))
		}
	}
	for kind, most := range map[string]int{"AWS::IAM::Policy": mostInline, "AWS::IAM::ManagedPolicy": mostManaged} {
		for _, id := range c.Template.Of(kind) {
			p := c.properties(id)
			problems = append(problems, sized(id, p["PolicyDocument"], most))
			for _, name := range strs(p["Roles"]) {
				add(a.roles, "arn:aws:iam::"+Account+":role/"+name, id, p["PolicyDocument"])
			}
		}
	}
	for _, id := range c.Template.Of("AWS::S3::BucketPolicy") {
		p := c.properties(id)
		add(a.resources, "arn:aws:s3:::"+text(p, "Bucket"), id, p["PolicyDocument"])
	}
	for _, id := range c.Template.Of("AWS::KMS::Key") {
		add(a.resources, c.resolver.attribute(id, "Arn"), id, at(c.properties(id), "KeyPolicy"))
	}
	for _, id := range c.Template.Of("AWS::SQS::QueuePolicy") {
		for _, url := range strs(c.properties(id)["Queues"]) {
			add(a.resources, arn("sqs", url[strings.LastIndex(url, "/")+1:]), id, c.properties(id)["PolicyDocument"])
		}
	}
	c.takeAway()
	return errors.Join(problems...)
}

// takeAway leaves out what a test does without.
func (c *Cloud) takeAway() {
	if c.options.Without == nil {
		return
	}
	for role, all := range c.access.roles {
		for n, s := range all {
			var kept []string
			for _, action := range s.actions {
				if !slices.ContainsFunc(s.resources, func(r string) bool { return c.options.Without(c.access.names[role], action, r) }) {
					kept = append(kept, action)
				}
			}
			all[n].actions = kept
		}
	}
}

// plain is the id of a resource without the digest that CDK puts behind it.
func plain(id string) string {
	if n := len(id) - 8; n > 0 && strings.Trim(id[n:], "0123456789ABCDEF") == "" {
		return id[:n]
	}
	return id
}

// makeSecrets makes up the secrets of the template, and puts those of the account beside them.
func (c *Cloud) makeSecrets(context.Context) error {
	for _, id := range c.Template.Of("AWS::SecretsManager::Secret") {
		p, name := c.properties(id), c.resolver.ref(id)
		length, ok := index(at(p, "GenerateSecretString", "PasswordLength"))
		if !ok || at(p, "GenerateSecretString", "ExcludePunctuation") != true {
			return fmt.Errorf("the secret %s is generated in a way that is not understood here", id)
		}
		made := strings.Repeat(plain(id)+"kZ3vQ8xW1pL6nB4tR9yD2mF7cH5jS0aG", length)[:length]
		c.Services.Secrets[name], c.secrets[name], c.keys[name] = made, name, text(p, "KmsKeyId")
	}
	for _, id := range c.Template.Of("AWS::KMS::Key") {
		if text(c.properties(id), "KeySpec") == "HMAC_256" {
			c.Services.MACs[c.resolver.attribute(id, "Arn")] = []byte(plain(id))
		}
	}
	for name, s := range c.options.Secrets {
		part := arn("secretsmanager", "secret:"+name) // an ARN may be without its end
		full := part + "-AbCdEf"
		for _, named := range []string{name, part, full} {
			c.Services.Secrets[named], c.secrets[named] = s.Value, full
		}
		c.keys[full] = s.Key
	}
	for _, id := range c.Template.Of("AWS::SSM::Parameter") {
		c.Services.Parameters[text(c.properties(id), "Name")] = text(c.properties(id), "Value")
	}
	return nil
}

// makeVault starts the S3 server.
func (c *Cloud) makeVault(ctx context.Context) error {
	folder := filepath.Join(c.options.Folder, "s3")
	if err := own(folder); err != nil {
		return err
	}
	server, err := local.Attach(ctx, folder, nil)
	if err != nil {
		return err
	}
	c.server, c.closers = server, append(c.closers, func() { _ = server.Close() })
	if server.Region() != Region {
		return fmt.Errorf("the embedded vault is in %s", server.Region())
	}
	access, key := server.Credentials()
	c.S3, err = vault.Connect(ctx, vault.Store{
		Endpoint: server.URL(), Region: Region, HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: key,
	})
	return err
}

// own makes the account the owner of every bucket: to the embedded server that is whoever has the access key of this name.
// So it looks itself at the owner that a request expects.
func own(folder string) error {
	if err := os.MkdirAll(filepath.Join(folder, "server"), 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]string{"access": Account, "secret": rand.Text() + rand.Text()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "server", "credentials.json"), data, 0o600)
}

// makeBuckets makes the buckets of the template and of the account, and that of the bootstrap, where assets go.
func (c *Cloud) makeBuckets(ctx context.Context) error {
	for _, id := range c.Template.Of("AWS::S3::Bucket") {
		if err := c.makeBucket(ctx, c.resolver.name(id), c.properties(id)); err != nil {
			return fmt.Errorf("make the bucket %s: %w", id, err)
		}
	}
	for name, key := range c.options.Buckets {
		c.keys["arn:aws:s3:::"+name] = key
		if err := c.makeBucket(ctx, name, nil); err != nil {
			return fmt.Errorf("make the bucket %s: %w", name, err)
		}
	}
	return c.makeBucket(ctx, assetBucket(), nil)
}

func assetBucket() string { return "cdk-hnb659fds-assets-" + Account + "-" + Region }

func (c *Cloud) makeBucket(ctx context.Context, name string, p map[string]any) error {
	locked := at(p, "ObjectLockEnabled") == true
	if _, err := c.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &locked}); err != nil {
		return err
	}
	rules, _ := at(p, "BucketEncryption", "ServerSideEncryptionConfiguration").([]any)
	for _, rule := range rules {
		c.keys["arn:aws:s3:::"+name] = text(rule, "ServerSideEncryptionByDefault", "KMSMasterKeyID")
	}
	if status := text(p, "VersioningConfiguration", "Status"); status != "" && !locked { // a lock brings versions with it
		if _, err := c.S3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatus(status)},
		}); err != nil {
			return err
		}
	}
	if at(p, "ObjectLockConfiguration") != nil {
		return errors.New("a lock that the bucket makes by itself is not understood here")
	}
	return nil
}

// upload puts the assets that functions read into the bucket of the bootstrap. The template itself and the zips of
// functions are read from the disk.
func (c *Cloud) upload(ctx context.Context) error {
	for key, path := range c.Template.assets {
		if strings.HasSuffix(key, ".zip") || strings.HasSuffix(key, ".template.json") {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if c.options.Asset != nil {
			data = c.options.Asset(key, data)
		}
		if err := c.Put(ctx, assetBucket(), key, data); err != nil {
			return err
		}
	}
	return nil
}

// Function is a deployed function.
type Function struct {
	*runtimeapi.Function
	ID   string // without CDK's digest
	ARN  string
	role string
	// Before is asked before each invocation; its error is the answer. nil: nobody. It is set before invocations begin.
	Before func(payload []byte) error
	// After changes an answer; nil: nobody.
	After func(payload []byte, answer json.RawMessage) json.RawMessage
	// Front is asked before each request of the function to S3; true: it has answered. nil: nobody.
	Front func(w http.ResponseWriter, r *http.Request) bool
}

// Function returns the function of an id, without CDK's digest; nil for none.
func (c *Cloud) Function(id string) *Function {
	for _, f := range c.functions {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// endpoints are the names by which the SDK finds the services.
var endpoints = []string{"SECRETS_MANAGER", "SSM", "SESV2", "SFN", "KMS"}

func (c *Cloud) makeFunctions(context.Context) error {
	access, key := c.server.Credentials()
	for _, id := range c.Template.Of("AWS::Lambda::Function") {
		p := c.properties(id)
		f := &Function{ID: plain(id), ARN: c.resolver.attribute(id, "Arn"), role: text(p, "Role")}
		if what := text(p, "Runtime") + " " + text(p, "Handler") + " " + strings.Join(strs(p["Architectures"]), " "); what != "provided.al2023 bootstrap arm64" {
			return fmt.Errorf("the function %s runs on %s", id, what)
		}
		if !c.access.assumes("lambda.amazonaws.com", f.role, map[string]string{"aws:SourceAccount": Account}) {
			return fmt.Errorf("lambda may not assume the role of %s", id)
		}
		program, err := c.unpack(id, text(p, "Code", "S3Bucket"), text(p, "Code", "S3Key"))
		if err != nil {
			return err
		}
		store, err := c.storeOf(f)
		if err != nil {
			return err
		}
		services := c.listen(c.servicesOf(f))
		memory, _ := index(p["MemorySize"])
		seconds, _ := index(p["Timeout"])
		variables := []string{
			"AWS_REGION=" + Region, "AWS_DEFAULT_REGION=" + Region, "AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + key.Reveal(),
			"AWS_ENDPOINT_URL_S3=" + store,
		}
		for _, name := range endpoints {
			variables = append(variables, "AWS_ENDPOINT_URL_"+name+"="+services)
		}
		given, _ := at(p, "Environment", "Variables").(map[string]any)
		for name, value := range given {
			variables = append(variables, name+"="+fmt.Sprint(value))
		}
		f.Function = &runtimeapi.Function{
			Name: c.resolver.name(id), ARN: f.ARN, Bootstrap: program, Memory: memory, Timeout: time.Duration(seconds) * time.Second,
			Variables: append(variables, c.options.Variable...), Log: c.options.Log,
		}
		if reserved, ok := index(p["ReservedConcurrentExecutions"]); ok {
			f.Limit = reserved
		}
		c.functions[f.ARN] = f
	}
	return nil
}

// unpack unpacks the program of a function's asset.
func (c *Cloud) unpack(id, bucket, key string) (string, error) {
	if bucket != assetBucket() || c.Template.assets[key] == "" {
		return "", fmt.Errorf("the code of %s is no asset: %s/%s", id, bucket, key)
	}
	archive, err := zip.OpenReader(c.Template.assets[key])
	if err != nil {
		return "", err
	}
	defer archive.Close()
	from, err := archive.Open("bootstrap")
	if err != nil {
		return "", err
	}
	defer from.Close()
	folder := filepath.Join(c.options.Folder, "code", id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	to, err := os.OpenFile(filepath.Join(folder, "bootstrap"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	return to.Name(), errors.Join(err, to.Close())
}

func (c *Cloud) listen(handler http.Handler) string {
	server := httptest.NewServer(handler)
	c.closers = append(c.closers, server.Close)
	return server.URL
}

// invoke invokes a function for somebody who may.
func (c *Cloud) invoke(ctx context.Context, f *Function, payload []byte) (json.RawMessage, error) {
	if f.Before != nil {
		if err := f.Before(payload); err != nil {
			return nil, err
		}
	}
	answer, err := f.Invoke(ctx, payload)
	if err == nil && f.After != nil {
		answer = f.After(payload, answer)
	}
	return answer, err
}

// Refused returns what IAM has refused, in order.
func (c *Cloud) Refused() []string {
	c.access.mutex.Lock()
	defer c.access.mutex.Unlock()
	return slices.Clone(c.access.refused)
}

// Unused returns the rights of roles that nothing has asked for: role, action, resource.
func (c *Cloud) Unused() []string { return c.access.unused() }
