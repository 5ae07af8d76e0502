package cloud

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Template is a synthesized stack: the template, and the files that a deployment uploads beside it.
type Template struct {
	Name      string // of the stack
	Resources map[string]*Resource
	Outputs   map[string]struct{ Value any }

	assets map[string]string // object key → path of the file
}

// Resource is one resource of a template. Its properties hold functions until they are resolved.
type Resource struct {
	Type       string
	Properties map[string]any
}

// Read reads what `cdk synth` has written for a stack. A part of a template that would change what is deployed and is not
// understood here is an error.
func Read(folder, stack string) (*Template, error) {
	data, err := os.ReadFile(filepath.Join(folder, stack+".template.json"))
	if err != nil {
		return nil, err
	}
	t := &Template{Name: stack, assets: map[string]string{}}
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(data, &sections); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		// Parameters and Rules are those of the bootstrap's version, which a deployment looks at and nothing else does.
		if !slices.Contains([]string{"Description", "Resources", "Outputs", "Parameters", "Rules"}, name) {
			return nil, fmt.Errorf("the template has a section %s, which is not understood here", name)
		}
	}
	return t, t.readAssets(folder)
}

// readAssets reads which file is uploaded to which key.
func (t *Template) readAssets(folder string) error {
	data, err := os.ReadFile(filepath.Join(folder, t.Name+".assets.json"))
	if err != nil {
		return err
	}
	var manifest struct {
		Files map[string]struct {
			Source       struct{ Path, Packaging string }
			Destinations map[string]struct{ BucketName, ObjectKey string }
		}
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("read the manifest of assets: %w", err)
	}
	for id, file := range manifest.Files {
		if file.Source.Packaging != "file" {
			return fmt.Errorf("the asset %s is packed as %s", id, file.Source.Packaging)
		}
		for _, to := range file.Destinations {
			t.assets[to.ObjectKey] = filepath.Join(folder, file.Source.Path)
		}
	}
	return nil
}

// Of returns the ids of all resources of a type, sorted.
func (t *Template) Of(kind string) []string {
	var ids []string
	for id, r := range t.Resources {
		if r.Type == kind {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// resolver puts values in the place of a template's functions. What it does not know it remembers as a problem.
type resolver struct {
	template *Template
	pseudo   map[string]string
	problems []string
}

func newResolver(t *Template) *resolver {
	return &resolver{template: t, pseudo: map[string]string{
		"AWS::AccountId": Account, "AWS::Region": Region, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": t.Name,
		"AWS::StackId": arn("cloudformation", "stack/"+t.Name+"/00000000-0000-4000-8000-000000000000"),
	}}
}

func (r *resolver) wrong(format string, args ...any) string {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
	return "?"
}

// value returns a value without functions.
func (r *resolver) value(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, 0, len(v))
		for _, one := range v {
			list = append(list, r.value(one))
		}
		return list
	case map[string]any:
		if len(v) == 1 {
			for name, argument := range v {
				if name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::") {
					return r.call(name, argument)
				}
			}
		}
		object := map[string]any{}
		for name, one := range v {
			object[name] = r.value(one)
		}
		return object
	}
	return v
}

// call evaluates one function.
func (r *resolver) call(name string, argument any) any {
	list, _ := r.value(argument).([]any)
	switch {
	case name == "Ref":
		return r.ref(fmt.Sprint(argument))
	case name == "Fn::GetAtt" && len(list) == 2:
		return r.attribute(fmt.Sprint(list[0]), fmt.Sprint(list[1]))
	case name == "Fn::Join" && len(list) == 2:
		return strings.Join(strs(list[1]), fmt.Sprint(list[0]))
	case name == "Fn::Split" && len(list) == 2:
		var parts []any
		for part := range strings.SplitSeq(fmt.Sprint(list[1]), fmt.Sprint(list[0])) {
			parts = append(parts, part)
		}
		return parts
	case name == "Fn::Select" && len(list) == 2:
		of, _ := list[1].([]any)
		if n, ok := index(list[0]); ok && n < len(of) {
			return of[n]
		}
	case name == "Fn::Sub":
		if text, ok := argument.(string); ok {
			return r.sub(text)
		}
	}
	return r.wrong("%s %v is not understood here", name, argument)
}

func index(v any) (int, bool) {
	var n int
	_, err := fmt.Sscan(fmt.Sprint(v), &n)
	return n, err == nil && n >= 0
}

var variable = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

func (r *resolver) sub(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-1]
		if id, attribute, ok := strings.Cut(name, "."); ok {
			return r.attribute(id, attribute)
		}
		return r.ref(name)
	})
}

// ref is what Ref returns: a pseudo parameter, or what CloudFormation returns for a type of resource.
func (r *resolver) ref(id string) string {
	if value, ok := r.pseudo[id]; ok {
		return value
	}
	made := r.template.Resources[id]
	if made == nil {
		return r.wrong("there is no resource %s", id)
	}
	switch made.Type {
	case "AWS::StepFunctions::StateMachine", "AWS::SecretsManager::Secret", "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy":
		return r.attribute(id, "Arn")
	case "AWS::SQS::Queue":
		return "https://sqs." + Region + ".amazonaws.com/" + Account + "/" + r.name(id)
	case "AWS::SES::EmailIdentity":
		return fmt.Sprint(made.Properties["EmailIdentity"])
	case "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::ApiGatewayV2::Api",
		"AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Authorizer", "AWS::SES::ConfigurationSet", "AWS::Scheduler::ScheduleGroup":
		return r.name(id)
	}
	return r.wrong("nobody knows what Ref of %s, a %s, is", id, made.Type)
}

// arns is what stands in an ARN of a type before its name: service and kind.
var arns = map[string][2]string{
	"AWS::IAM::Role": {"iam", "role/"}, "AWS::IAM::ManagedPolicy": {"iam", "policy/"}, "AWS::Lambda::Function": {"lambda", "function:"},
	"AWS::StepFunctions::StateMachine": {"states", "stateMachine:"}, "AWS::SecretsManager::Secret": {"secretsmanager", "secret:"},
	"AWS::SQS::Queue": {"sqs", ""}, "AWS::SNS::Topic": {"sns", ""}, "AWS::KMS::Key": {"kms", "key/"}, "AWS::Events::Rule": {"events", "rule/"},
	"AWS::Logs::LogGroup": {"logs", "log-group:"}, "AWS::CloudWatch::Alarm": {"cloudwatch", "alarm:"},
}

// attribute is what Fn::GetAtt returns.
func (r *resolver) attribute(id, name string) string {
	made := r.template.Resources[id]
	if made == nil {
		return r.wrong("there is no resource %s", id)
	}
	of, known := arns[made.Type]
	switch {
	case name == "Arn" && made.Type == "AWS::S3::Bucket":
		return "arn:aws:s3:::" + r.name(id)
	case name == "Arn" && made.Type == "AWS::Logs::LogGroup":
		return arn(of[0], of[1]+r.name(id)+":*")
	case name == "Arn" && of[0] == "iam":
		return "arn:aws:iam::" + Account + ":" + of[1] + r.name(id)
	case name == "Arn" && known:
		return arn(of[0], of[1]+r.name(id))
	case name == "ApiEndpoint" && made.Type == "AWS::ApiGatewayV2::Api":
		return "https://" + r.name(id) + ".execute-api." + Region + ".amazonaws.com"
	case name == "Name" && made.Type == "AWS::StepFunctions::StateMachine",
		name == "QueueName" && made.Type == "AWS::SQS::Queue", name == "TopicName" && made.Type == "AWS::SNS::Topic":
		return r.name(id)
	case strings.HasPrefix(name, "DkimDNSToken") && made.Type == "AWS::SES::EmailIdentity":
		return strings.ToLower(name) + ".example.org"
	}
	return r.wrong("nobody knows %s of %s, a %s", name, id, made.Type)
}

// names are the properties that name a resource, where the template does.
var names = []string{"BucketName", "FunctionName", "RoleName", "StateMachineName", "QueueName", "TopicName", "LogGroupName", "AlarmName"}

// name is the physical name of a resource: the template's, or one made up as CloudFormation does.
func (r *resolver) name(id string) string {
	made := r.template.Resources[id]
	for _, property := range names {
		if given := made.Properties[property]; given != nil && made.Type != "AWS::Lambda::Permission" {
			return fmt.Sprint(r.value(given))
		}
	}
	if made.Type == "AWS::Scheduler::ScheduleGroup" {
		return fmt.Sprint(r.value(made.Properties["Name"]))
	}
	switch made.Type {
	case "AWS::S3::Bucket":
		return strings.ToLower(r.template.Name + "-" + id + "-1a2b3c4d5e6f")
	case "AWS::ApiGatewayV2::Api":
		return strings.ToLower(id) + "1a2b"
	case "AWS::KMS::Key":
		return "0a1b2c3d-0000-4000-8000-" + fmt.Sprintf("%x", sha256.Sum256([]byte(id)))[:12]
	case "AWS::SecretsManager::Secret":
		return id + "-1a2B3c4D5e6F-AbCdEf"
	}
	return r.template.Name + "-" + id + "-1A2B3C4D5E6F"
}

// strs is a list of texts; one text is a list of one.
func strs(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var list []string
		for _, one := range v {
			list = append(list, fmt.Sprint(one))
		}
		return list
	}
	return []string{fmt.Sprint(v)}
}

// at walks into a value; what is not there is nil.
func at(value any, path ...string) any {
	for _, name := range path {
		m, _ := value.(map[string]any)
		value = m[name]
	}
	return value
}

func text(value any, path ...string) string {
	if found := at(value, path...); found != nil {
		return fmt.Sprint(found)
	}
	return ""
}
