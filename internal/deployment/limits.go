package deployment

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/secret"
)

// What one stack may have. Only the number of policies is a quota that AWS raises.
const (
	MostPolicies  = 10        // managed ones at a role
	MostResources = 500       // of a template
	MostOutputs   = 200       // of a template
	MostTemplate  = 1_000_000 // bytes of a template
)

// Size is what a stack will have, by count, before anybody synthesizes it. A test of the stack holds it against templates:
// resources and outputs are right, policies and bytes not too few.
type Size struct {
	Policies  map[string]int // managed ones by function, where there are some
	Resources int
	Outputs   int
	Template  int // bytes
	// Compact says that the template is written without indentation, which is two fifths of it: people read a small one.
	Compact bool
}

// Resources of every stack, and of what is optional.
const (
	alwaysResources = 103
	issuerResources = 1 // and two for each route
	sesResources    = 2
	senderResources = 1
	taggedResources = 60 // that have tags, at most
)

// Bytes of the template, indented as CDK writes it: somewhat more than what was counted.
const (
	alwaysTemplate   = 190_000 // of every stack, with all that is optional
	graphTemplate    = 560     // of a source in the dashboard
	scheduleTemplate = 1_250
	outputTemplate   = 800 // what the owner of a bucket must allow
	rightTemplate    = 250 // of a statement, beside its frame
	resourceTemplate = 45  // of a resource of a statement, beside its text
	joinTemplate     = 230 // more of one whose ARN is put together
	policyTemplate   = 900
	tagTemplate      = 70 // of a tag at a resource, beside its texts
	compactTemplate  = 65 // percent of it that are left without indentation, at most
)

// Size counts what the stack will have.
func (o *Options) Size() Size {
	always, outputs := len(outputs), len(o.Outputs())
	s := Size{Policies: map[string]int{}, Outputs: outputs, Resources: alwaysResources + len(o.Alarms) + min(o.Budget, 1)}
	s.Template = alwaysTemplate + graphTemplate*len(o.Config.Sources) + outputTemplate*(outputs-always)
	for _, f := range deployed.Functions {
		r := o.named(f)
		n := r.policies()
		if s.Template += r.template() + n*policyTemplate; n > 0 {
			s.Policies[f.Name] = n
			s.Resources += n
		}
	}
	if o.API.Issuer != "" {
		s.Resources += issuerResources + 2*len(ClosedRoutes)
	}
	if o.Mail != nil {
		s.Resources += sesResources
		if !o.Mail.Existing {
			s.Resources += senderResources
		}
	}
	schedules := len(o.Drills)
	for _, source := range o.Sources {
		schedules += min(len(source.Cron), 1) + int(min(source.Overdue, 1))
	}
	s.Resources += schedules
	s.Template += schedules * scheduleTemplate
	for key, text := range o.Tags {
		s.Template += (tagTemplate + len(key) + len(text)) * taggedResources
	}
	if s.Compact = s.Template > MostTemplate/2; s.Compact {
		s.Template = s.Template * compactTemplate / 100
	}
	return s
}

// needs says what of a stack is too much for AWS.
func (s Size) needs() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Policies)) {
		if n := s.Policies[name]; n > MostPolicies {
			all = append(all, fmt.Sprintf("%d managed policies at the role of %s (IAM takes %d)", n, name, MostPolicies))
		}
	}
	for _, c := range []struct {
		n, most int
		what    string
	}{{s.Resources, MostResources, "resources"}, {s.Outputs, MostOutputs, "outputs"}, {s.Template, MostTemplate, "bytes of template"}} {
		if c.n > c.most {
			all = append(all, fmt.Sprintf("%d %s (CloudFormation takes %d)", c.n, c.what, c.most))
		}
	}
	return all
}

// limits refuses what one stack can't have, and says how many sources fit.
func (r *reader) limits(o *Options) {
	if r.config == nil {
		return
	}
	needs := o.Size().needs()
	if len(needs) == 0 {
		return
	}
	all := len(r.config.Sources)
	fit := sort.Search(all, func(n int) bool { return len(o.first(n+1).Size().needs()) > 0 })
	fits := fmt.Sprintf("the first %d sources fit", fit)
	if fit == 0 {
		fits = "not even the first source fits beside the targets"
	}
	hint := "make several files of it, each with a deploy: {stack: NAME} of its own; a drill, a watchdog (overdue) and a kms-key take room, too"
	r.refuse("sources", []error{failure.New(failure.Usage, "sources: %d of them, %d targets and %d drills are too many for one stack, which would have %s; %s",
		all, len(r.config.Targets), len(o.Drills), strings.Join(needs, ", "), fits).WithHint("%s", hint)})
}

// first is the same with fewer sources, and without drills of those that are left out.
func (o *Options) first(n int) *Options {
	few, c := *o, *o.Config
	c.Sources = c.Sources[:n]
	few.Config, few.Sources, few.Drills = &c, map[string]Source{}, map[string]Drill{}
	for _, s := range c.Sources {
		if source, known := o.Sources[string(s.Name)]; known {
			few.Sources[string(s.Name)] = source
		}
	}
	for name, d := range o.Drills {
		if slices.ContainsFunc(c.Sources, func(s config.Source) bool { return string(s.Name) == d.Source }) {
			few.Drills[name] = d
		}
	}
	return &few
}

// rights are what a role may do with what the file names: resources by what is allowed on them, as the stack gives it.
type rights map[string]*right

// right is a statement.
type right struct {
	frame     int // characters without its resources
	resources map[string]bool
}

// Lengths of what is known only when the stack is deployed, at most.
const (
	ownARN  = len("arn:::::") + 10 + len("secretsmanager") + 16 + 12 // with partition, Region and account
	roomARN = len("arn::s3:::") + 10
	// statementFrame is a statement without its actions, conditions and resources.
	statementFrame = 50
	ownerFrame     = 78
	viaFrame       = 100
)

func (r rights) allow(frame int, what, resource string, ownLength int) {
	if r[what] == nil {
		r[what] = &right{frame + statementFrame, map[string]bool{}}
	}
	r[what].resources[resource+strings.Repeat("x", ownLength)] = true
}

// named is what a function's role may do with what the file names.
func (o *Options) named(f deployed.Function) rights {
	r := rights{}
	if f.Sources {
		for _, s := range o.Config.Sources {
			o.allowInstance(r, s.Instance, o.Sources[string(s.Name)].Key, "s3:GetObject")
		}
	}
	if f.Targets {
		for _, t := range o.Config.Targets {
			o.allowInstance(r, t.Instance, o.Targets[t.Name].Key, "s3:GetObject, s3:PutObject, s3:AbortMultipartUpload")
		}
	}
	return r
}

func (o *Options) allowInstance(r rights, i config.Instance, key, actions string) {
	references := []secret.Reference{i.Token}
	b := i.Datasource.Bucket
	if b != nil {
		references = append(references, b.AccessKey, b.SecretKey, b.ExternalID)
	}
	for _, reference := range references {
		scheme, name, _ := strings.Cut(string(reference), ":")
		if scheme != "secretsmanager" && scheme != "ssm" {
			continue
		}
		name, _, _ = strings.Cut(name, "#")
		r.allow(30, scheme, name, ownARN+len("parameter/-??????"))
		for _, arn := range o.SecretKeys {
			r.allow(viaFrame, "decrypt by "+scheme, arn, 0)
		}
	}
	switch {
	case b == nil:
		return
	case b.Role != "":
		r.allow(14, "assume", b.Role, 0)
	case ReachedByRole(b):
		r.allow(ownerFrame+len(actions), actions+" of "+b.Owner, b.Name+"/"+escaped(b.Prefix)+"/*", roomARN)
		r.allow(ownerFrame+len("s3:ListBucket"), "list of "+b.Owner, b.Name, roomARN)
		if key != "" {
			r.allow(viaFrame+30, "decrypt by s3", key, 0)
		}
	}
}

// escaped is a text as it stands in the resource of a policy, or one that is as long.
func escaped(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(text)
}

// template is how many bytes of the template the rights take.
func (r rights) template() (n int) {
	for _, one := range r {
		n += rightTemplate + one.frame
		for resource := range one.resources {
			if n += resourceTemplate + len(resource); !strings.HasPrefix(resource, "arn:") {
				n += joinTemplate
			}
		}
	}
	return n
}

// Characters of what may stand in the role's own policy, and in a managed one beside what is lost at its end.
const (
	inlineRights  = 2_700
	managedRights = 5_500
)

// policies is how many managed policies the rights take.
func (r rights) policies() int {
	size := 0
	for _, one := range r {
		size += one.frame
		for resource := range one.resources {
			size += len(resource) + len(`"",`)
		}
	}
	if size <= inlineRights {
		return 0
	}
	return (size + managedRights - 1) / managedRights
}
