package config

// A shape is what may stand at a key of the section deploy. Whether the values are sensible is for package deployment;
// the schema and the parser are made of the same shapes.
type shape struct {
	form    form
	says    string
	keys    []key  // of a table, in the order of the documents
	each    *shape // of what is named
	pattern string // of a text, for editors
}

type key struct {
	name string
	shape
}

// form is which kind of value it is.
type form int

const (
	oneText form = iota
	whole        // a whole number
	onOff
	texts  // a list, or one
	keyed  // a table with keys that are known
	byName // a table of tables, by names of sources, targets or drills
	wholes // a table of whole numbers
	words  // a table of texts
)

func keyedShape(says string, keys ...key) shape { return shape{form: keyed, says: says, keys: keys} }

func byNameShape(says string, keys ...key) shape {
	return shape{form: byName, says: says, each: &shape{form: keyed, keys: keys}}
}

func textShape(name, says string) key { return key{name, shape{says: says}} }

// scheduled are the keys of what a schedule starts.
var scheduled = []key{
	textShape("cron", "six fields of EventBridge, without cron( ): \"0 4 * * ? *\""),
	textShape("zone", "an IANA time zone, such as Europe/Zurich; UTC"),
	{"window", shape{says: "how much later it may begin: 1m to 24h; 15m", pattern: lengthPattern}},
}

const lengthPattern = `^[1-9][0-9]*[mhd]$`

// deployShape is the section deploy.
var deployShape = keyedShape("the stack on AWS: infra/README.md",
	textShape("stack", "the stack's name; lifeboat"),
	key{"sources", byNameShape("when each source is backed up", append(scheduled[:len(scheduled):len(scheduled)],
		key{"overdue", shape{says: "after how long without a good backup it is overdue: 8d, or off; what lies between two runs, the window, and four hours to a day", pattern: `^([1-9][0-9]*[mhd]|off)$`}},
		textShape("kms-key", "ARN of the key of its bucket"))...)},
	key{"targets", byNameShape("what the stack must know of targets", textShape("kms-key", "ARN of the key of its bucket"))},
	key{"drills", byNameShape("restores that prove backups", append(scheduled[:len(scheduled):len(scheduled)],
		textShape("source", "whose newest backup is restored"),
		textShape("target", "that is there for drills only; without it a throw-away place in the vault"),
		key{"dry-run", shape{form: onOff, says: "check every byte and write nothing"}})...)},
	key{"immutability", shape{says: "Object Lock: 30d governance, or 30d compliance", pattern: `^[1-9][0-9]*d (governance|compliance)$`}},
	key{"mail", keyedShape("mail leaves through SES",
		textShape("from", "the sender's address"), textShape("identity", "the domain of from, or the address itself"),
		key{"existing", shape{form: onOff, says: "the account has the identity already"}})},
	key{"alarms", shape{form: texts, says: "addresses that hear of failures"}},
	key{"budget", shape{form: whole, says: "whole US dollars a month"}},
	key{"api", keyedShape("the API for people",
		textShape("issuer", "https URL of an OIDC provider"), key{"audience", shape{form: texts, says: "of its tokens"}},
		textShape("scope-prefix", "before read, run and restore; backup:"))},
	key{"webhook", keyedShape("hears of every run, signed",
		textShape("url", "secretsmanager:NAME or ssm:NAME"), textShape("key", "secretsmanager:NAME or ssm:NAME"))},
	key{"secret-keys", shape{form: texts, says: "ARNs of your own KMS keys that the referenced secrets are encrypted with"}},
	key{"reserved-concurrency", shape{form: wholes, says: "of functions; off"}},
	textShape("permissions-boundary", "ARN of a policy for every role"),
	key{"tags", shape{form: words, says: "more tags of everything"}},
)

// form checks that v has a shape: keys that are known, and values of the right kind. Nothing of it is kept.
func (r *reader) form(v value, s shape) {
	if v.absent() {
		return
	}
	switch s.form {
	case oneText:
		if v.node.ShortTag() != "!!str" || v.node.Value != "" { // "" may mean something: scope-prefix
			r.text(v)
		}
	case whole:
		r.whole(v)
	case onOff:
		r.flag(v, false)
	case texts:
		for _, item := range r.list(v) {
			r.text(item)
		}
	case keyed:
		r.formTable(v, s.keys)
	case byName:
		for _, v := range r.named(v) {
			r.form(v, *s.each)
		}
	case wholes, words:
		t := r.open(v)
		for _, v := range t.fields {
			r.form(v, shape{form: map[form]form{wholes: whole, words: oneText}[s.form]})
		}
	}
}

func (r *reader) formTable(v value, keys []key) {
	t := r.open(v)
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
		r.form(t.at(k.name), k.shape)
	}
	t.only(names)
}

func (r *reader) whole(v value) {
	if v.node.ShortTag() != "!!int" {
		r.problem(v, "must be a whole number, such as 20")
	}
}

// schema says a shape to editors.
func (s shape) schema() map[string]any {
	switch s.form {
	case whole:
		return map[string]any{"type": "integer", "description": s.says}
	case onOff:
		return map[string]any{"enum": []any{true, false, "on", "off"}, "description": s.says}
	case texts:
		one := oneOrMany(text(""))
		one["description"] = s.says
		return one
	case wholes, words:
		each := map[string]any{"type": "integer"}
		if s.form == words {
			each = map[string]any{"type": []string{"string", "number"}}
		}
		return map[string]any{"type": []string{"object", "null"}, "description": s.says, "additionalProperties": each}
	case byName:
		return named(s.says, s.each.schema())
	case keyed:
		properties := map[string]any{}
		for _, k := range s.keys {
			properties[k.name] = k.schema()
		}
		o := object(properties)
		o["type"] = []string{"object", "null"}
		if s.says != "" {
			o["description"] = s.says
		}
		return o
	}
	o := text(s.says)
	if s.pattern != "" {
		o["pattern"] = s.pattern
	}
	return o
}
