package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// request is one question to IAM.
type request struct {
	principal string // ARN of a role, or the name of a service
	action    string
	resource  string
	context   map[string]string
}

func (q request) String() string { return q.principal + ": " + q.action + " " + q.resource }

// statement is one statement of a policy.
type statement struct {
	where      string   // id of the resource that it stands in
	deny       bool     //
	principals []string // of a policy on a resource: ARNs, names of services, account ids, *
	actions    []string
	resources  []string
	conditions []condition
}

// condition is one key of one operator.
type condition struct {
	operator, key string
	values        []string
}

// operators are those that are evaluated; a template with another one is refused. Each compares a value of the request
// with one of the policy.
var operators = map[string]func(got, want string) bool{
	"StringEquals": func(got, want string) bool { return got == want },
	"StringLike":   func(got, want string) bool { return Like(want, got) },
	"ArnLike":      func(got, want string) bool { return Like(want, got) },
	"ArnEquals":    func(got, want string) bool { return Like(want, got) }, // IAM evaluates both alike
	"Bool":         strings.EqualFold,
	"NumericGreaterThan": func(got, want string) bool {
		g, w := numbers(got, want)
		return g > w
	},
	"NumericLessThan": func(got, want string) bool {
		g, w := numbers(got, want)
		return g < w
	},
}

// negated are operators that hold where the other one does not, or where the key is missing.
var negated = map[string]string{"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike"}

func numbers(a, b string) (float64, float64) {
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	return x, y
}

func (c condition) holds(context map[string]string) bool {
	got, there := "", false
	for name, value := range context {
		if strings.EqualFold(name, c.key) {
			got, there = value, true
		}
	}
	operator, not := c.operator, false
	if positive := negated[c.operator]; positive != "" {
		operator, not = positive, true
	}
	if !there {
		return not
	}
	return slices.ContainsFunc(c.values, func(want string) bool { return operators[operator](got, want) }) != not
}

// wild is what of a pattern does not stand for itself: * and ?, and how these and $ are written to stand for themselves.
var wild = regexp.MustCompile(`\$\{[*?$]\}|[*?]`)

// Like matches a pattern with * and ?. ${*}, ${?} and ${$} stand for one character.
func Like(pattern, text string) bool {
	var expression strings.Builder
	from := 0
	for _, m := range wild.FindAllStringIndex(pattern, -1) {
		expression.WriteString(regexp.QuoteMeta(pattern[from:m[0]]))
		switch found := pattern[m[0]:m[1]]; found {
		case "*":
			expression.WriteString(".*")
		case "?":
			expression.WriteString(".")
		default:
			expression.WriteString(regexp.QuoteMeta(found[2:3]))
		}
		from = m[1]
	}
	expression.WriteString(regexp.QuoteMeta(pattern[from:]))
	return regexp.MustCompile(`(?s)^` + expression.String() + `$`).MatchString(text)
}

// expressible reports what IAM takes no policy with: a character that is not of Latin-1, and a variable, of which only those
// that escape something are understood here.
func expressible(text string) error {
	for _, r := range text {
		if r > 0xFF || r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			return fmt.Errorf("%q has the character %U, which IAM does not take in a policy", text, r)
		}
	}
	if strings.Contains(wild.ReplaceAllString(text, ""), "${") {
		return fmt.Errorf("%q has a variable, which is not understood here", text)
	}
	return nil
}

// sized reports a policy that is longer than IAM takes it: white space does not count.
func sized(where string, document any, most int) error {
	data, err := json.Marshal(document)
	if n := len(data); err == nil && n > most {
		err = fmt.Errorf("the policy %s has %d characters, and IAM takes %d", where, n, most)
	}
	return err
}

func (s statement) covers(q request) (action, resource string, ok bool) {
	for _, action = range s.actions {
		if !Like(strings.ToLower(action), strings.ToLower(q.action)) {
			continue
		}
		for _, resource = range s.resources {
			if !Like(resource, q.resource) {
				continue
			}
			met := !slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(q.context) })
			return action, resource, met
		}
	}
	return "", "", false
}

// meant reports whether a statement of a policy on a resource is about a principal.
func (s statement) meant(principal string) bool {
	return slices.ContainsFunc(s.principals, func(p string) bool {
		return p == "*" || p == principal || p == "arn:aws:iam::"+Account+":root" && strings.HasPrefix(principal, "arn:")
	})
}

// statements reads a policy document whose functions are resolved.
func statements(where string, document any) ([]statement, error) {
	var all []statement
	list, _ := at(document, "Statement").([]any)
	for _, s := range list {
		fields, _ := s.(map[string]any)
		one := statement{where: where, actions: strs(fields["Action"]), resources: strs(fields["Resource"]), deny: text(s, "Effect") == "Deny"}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if !slices.Contains([]string{"Action", "Resource", "Effect", "Principal", "Condition", "Sid"}, name) {
				return nil, fmt.Errorf("a statement of %s has %s, which is not understood here", where, name)
			}
		}
		switch p := fields["Principal"].(type) {
		case string:
			one.principals = []string{p}
		case map[string]any:
			for _, who := range p {
				one.principals = append(one.principals, strs(who)...)
			}
		}
		for _, text := range slices.Concat(one.actions, one.resources, one.principals) {
			if err := expressible(text); err != nil {
				return nil, fmt.Errorf("a statement of %s: %w", where, err)
			}
		}
		conditions, _ := fields["Condition"].(map[string]any)
		for operator, keys := range conditions {
			if operators[operator] == nil && negated[operator] == "" {
				return nil, fmt.Errorf("a statement of %s has the condition %s, which is not understood here", where, operator)
			}
			object, _ := keys.(map[string]any)
			for key, values := range object {
				for _, text := range strs(values) {
					if err := expressible(text); err != nil {
						return nil, fmt.Errorf("a condition of %s: %w", where, err)
					}
				}
				one.conditions = append(one.conditions, condition{operator, key, strs(values)})
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// right is one action of one role on one resource, as a policy says it.
type right struct {
	role, action, resource string
}

// access decides requests by the policies of the template, and keeps book.
type access struct {
	roles     map[string][]statement // ARN of a role → what its policies say
	resources map[string][]statement // ARN of a bucket, queue or key → what the policy on it says
	trusts    map[string][]statement // ARN of a role → who may assume it
	names     map[string]string      // ARN of a role → id

	mutex   sync.Mutex
	used    map[right]bool
	refused []string
}

// may decides a request, and remembers what was refused and which right allowed it. A key decides nothing by itself where
// its policy leaves it to the account; everything else needs a policy of the role, or one on the resource that names who
// asks.
func (a *access) may(q request) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if !a.decide(q) {
		a.refused = append(a.refused, a.short(q))
		return false
	}
	return true
}

// would is may, but for that it remembers no refusal: nobody is turned away.
func (a *access) would(q request) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.decide(q)
}

func (a *access) short(q request) string {
	if name := a.names[q.principal]; name != "" {
		q.principal = name
	}
	return q.String()
}

func (a *access) decide(q request) bool {
	on, known := a.resources[owner(q.resource)]
	allowed, left := false, !known || !strings.HasPrefix(q.resource, "arn:aws:kms:")
	for _, s := range on {
		_, _, ok := s.covers(q)
		if !ok || !s.meant(q.principal) {
			continue
		}
		if s.deny {
			return false
		}
		// To leave it to the account's policies is not to allow it.
		delegated := strings.HasPrefix(q.principal, "arn:") && !slices.Contains(s.principals, q.principal) && !slices.Contains(s.principals, "*")
		allowed, left = allowed || !delegated, true
	}
	if !left { // without a word in its own policy nobody uses a key
		return false
	}
	for _, s := range a.roles[q.principal] {
		action, resource, ok := s.covers(q)
		if ok && s.deny {
			return false
		}
		if ok {
			allowed = true
			a.used[right{a.names[q.principal], action, resource}] = true
		}
	}
	return allowed
}

// owner is the resource whose policy counts: the bucket of an object.
func owner(resource string) string {
	if strings.HasPrefix(resource, "arn:aws:s3:::") {
		bucket, _, _ := strings.Cut(resource, "/")
		return bucket
	}
	return resource
}

// assumes reports whether a service may assume a role.
func (a *access) assumes(service, role string, context map[string]string) bool {
	q := request{service, "sts:AssumeRole", "", context}
	for _, s := range a.trusts[role] {
		s.resources = []string{"*"} // a trust names no resource
		if _, _, ok := s.covers(q); ok && !s.deny && s.meant(service) {
			return true
		}
	}
	return false
}

// unused lists the rights of roles that no request has used.
func (a *access) unused() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	var list []string
	for role, all := range a.roles {
		for _, s := range all {
			for _, action := range s.actions {
				for _, resource := range s.resources {
					if r := (right{a.names[role], action, resource}); !s.deny && !a.used[r] {
						list = append(list, r.role+" "+r.action+" "+r.resource)
					}
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
