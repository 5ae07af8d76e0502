package machine

import (
	"strings"
	"unicode"
)

// The highest concurrency that each mode has on AWS.
const (
	maxInline      = 40
	maxDistributed = 10_000
)

func (l *loader) loadMap(s *state, c cursor) {
	m := &mapping{items: path{src: "$"}}
	s.mapping = m
	processor, ok := c.need("ItemProcessor")
	if ok && processor.fields("an ItemProcessor", "ProcessorConfig", "StartAt", "States") {
		m.distributed = l.loadMode(processor)
		m.graph = l.loadGraph(processor)
	}
	l.loadConcurrency(m, c)
	if selector, ok := c.key("ItemSelector"); ok {
		m.selector = l.readTemplate(selector, templateLoader{l: l, item: true, note: func(e expression, at cursor) {
			s.note(e, at.path)
		}})
		m.fields, _ = topFields(m.selector)
	}
	l.loadItems(s, c)
	l.loadTolerance(m, c)
	if writer, ok := c.key("ResultWriter"); ok {
		l.loadWriter(s, writer)
	}
	if label, ok := c.key("Label"); ok {
		m.label = l.loadLabel(m, label)
	}
}

// loadMode reads ProcessorConfig and tells whether the map is distributed.
func (l *loader) loadMode(processor cursor) bool {
	config, ok := processor.key("ProcessorConfig")
	if !ok || !config.fields("a ProcessorConfig", "Mode", "ExecutionType") {
		return false
	}
	var distributed bool
	if mode, ok := config.need("Mode"); ok {
		distributed = mode.oneOf("INLINE", "DISTRIBUTED") == "DISTRIBUTED"
	}
	kind, typed := config.key("ExecutionType")
	switch {
	case distributed && !typed:
		config.fail("ExecutionType is missing")
	case distributed:
		kind.oneOf("STANDARD")
	case typed:
		kind.fail("only a DISTRIBUTED map takes an ExecutionType")
	}
	return distributed
}

func (l *loader) loadConcurrency(m *mapping, c cursor) {
	limit, ok := c.need("MaxConcurrency")
	switch {
	case ok && m.distributed:
		m.concurrency = limit.integer(1, maxDistributed)
	case ok:
		m.concurrency = limit.integer(1, maxInline)
	}
}

func (l *loader) loadItems(s *state, c cursor) {
	items, hasPath := c.key("ItemsPath")
	if hasPath {
		s.mapping.items, _ = l.loadPath(items, false)
		s.note(s.mapping.items, items.path)
	}
	reader, ok := c.key("ItemReader")
	switch {
	case ok && !s.mapping.distributed:
		reader.fail("an INLINE map takes no ItemReader")
	case ok && hasPath:
		items.fail("ItemsPath and ItemReader exclude each other")
	case ok:
		s.mapping.reader = l.loadReader(s, reader)
	}
}

func (l *loader) loadReader(s *state, c cursor) *itemReader {
	r := &itemReader{}
	if !c.fields("an ItemReader", "Resource", "ReaderConfig", "Parameters") {
		return r
	}
	if resource, ok := c.need("Resource"); ok {
		resource.oneOf("arn:aws:states:::s3:getObject")
	}
	if config, ok := c.need("ReaderConfig"); ok && config.fields("a ReaderConfig", "InputType") {
		if kind, ok := config.need("InputType"); ok {
			kind.oneOf("JSONL")
		}
	}
	r.bucket, r.key = l.loadPlace(s, c, "s3:getObject", "Key")
	return r
}

// loadWriter reads a ResultWriter. What the state returns with one is Step Functions' own, so nobody may read it.
func (l *loader) loadWriter(s *state, c cursor) {
	if !s.mapping.distributed {
		c.fail("an INLINE map takes no ResultWriter")
		return
	}
	w := &resultWriter{}
	s.mapping.writer = w
	if !s.result.null {
		c.fail("a map with a ResultWriter needs the ResultPath null: what it returns differs between the engines")
	}
	if s.selector != nil {
		c.fail("a map with a ResultWriter takes no ResultSelector: what it returns differs between the engines")
	}
	if !c.fields("a ResultWriter", "Resource", "Parameters") {
		return
	}
	if resource, ok := c.need("Resource"); ok {
		resource.oneOf("arn:aws:states:::s3:putObject")
	}
	w.bucket, w.prefix = l.loadPlace(s, c, "s3:putObject", "Prefix")
}

// loadPlace reads the Parameters of an ItemReader or a ResultWriter: Bucket, and the field that the action takes beside
// it.
func (l *loader) loadPlace(s *state, c cursor, action, field string) (bucket, other template) {
	parameters, ok := c.need("Parameters")
	if !ok || !parameters.fields(action, "Bucket", "Bucket.$", field, field+".$") {
		return nil, nil
	}
	filled, _ := l.loadTemplate(s, parameters).(objectTemplate)
	for _, f := range filled {
		if f.name == "Bucket" {
			bucket = objectTemplate{f}
		} else {
			other = objectTemplate{f}
		}
	}
	if bucket == nil {
		parameters.fail("Bucket is missing")
	}
	if other == nil {
		parameters.fail("%s is missing", field)
	}
	return bucket, other
}

func (l *loader) loadTolerance(m *mapping, c cursor) {
	count, hasCount := c.key("ToleratedFailureCount")
	percent, hasPercent := c.key("ToleratedFailurePercentage")
	if !m.distributed {
		if hasCount {
			count.fail("an INLINE map takes no tolerance")
		}
		if hasPercent {
			percent.fail("an INLINE map takes no tolerance")
		}
		return
	}
	if hasCount {
		n := count.integer(0, maxSeconds)
		m.count = &n
	}
	if hasPercent {
		p := percent.number(0, 100)
		m.percent = &p
	}
}

func (l *loader) loadLabel(m *mapping, c cursor) string {
	label, ok := c.str()
	bad := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("?*<>{}[]:;,\\|^~$#%&`\"", r)
	}
	switch n := len([]rune(label)); {
	case !ok:
	case !m.distributed:
		c.fail("an INLINE map takes no Label")
	case n == 0 || n > 40:
		c.fail("a label has 1 to 40 characters, not %d", n)
	case strings.ContainsFunc(label, bad):
		c.fail("a label has no whitespace and none of ? * < > { } [ ] : ; , \\ | ^ ~ $ # %% & ` \"")
	case l.labels[label] != "":
		c.fail("the label is already used at %s", l.labels[label])
	default:
		l.labels[label] = c.path
	}
	return label
}
