package deployment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are checked on machines without a database of them, too

	"go.yaml.in/yaml/v3"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// Load reads lifeboat.yaml at path, and refuses by name what can't run in AWS. All that is wrong comes back at once, as
// one Usage error that wraps a *config.Error.
func Load(path string) (*Options, error) {
	data, folder, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, folder)
}

// Check is Load of a file that may have no section deploy: of one that has none it says nothing.
func Check(path string) (warnings []string, err error) {
	data, folder, err := read(path)
	if err != nil {
		return nil, err
	}
	if _, section, err := cut(data); err == nil && section == nil {
		return nil, nil
	}
	o, err := Parse(path, data, folder)
	if err != nil {
		return nil, err
	}
	return o.Warnings, nil
}

func read(path string) (data []byte, folder string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, "", failure.New(failure.Usage, "read the configuration: %w", err).
			WithHint("`lifeboat init` writes one; --config names another (`make`: LIFEBOAT_CONFIG)")
	}
	defer file.Close()
	data, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil || len(data) > maxFile {
		return nil, "", failure.New(failure.Usage, "read the configuration %s: it is not readable, or larger than %d bytes", path, maxFile)
	}
	folder, err = filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, "", fmt.Errorf("find the folder of %s: %w", path, err)
	}
	return data, folder, nil
}

// Parse is Load of a file that is there already. folder is absolute.
func Parse(name string, data []byte, folder string) (*Options, error) {
	rest, section, err := cut(data)
	if err != nil {
		return nil, failure.New(failure.Usage, "read %s: %w", name, err)
	}
	c, err := config.Parse(name, data, folder)
	wrong, several := errors.AsType[*config.Error](err)
	if err != nil && !several {
		return nil, err
	}
	r := &reader{config: c, now: time.Now()}
	if wrong != nil {
		r.shapes = wrong.Problems
	}
	if r.index(data); r.lines == nil {
		return nil, err // no YAML
	}
	o := r.options(section)
	o.Config, o.ConfigText = c, rest
	r.fit()
	r.limits(o)
	all := append(r.shapes, r.problems...)
	if len(all) == 0 {
		o.Warnings = r.warnings
		return o, nil
	}
	return nil, failure.New(failure.Usage, "%s can't be deployed:\n%w", name, config.Wrong(name, all)).
		WithHint("correct the file; `lifeboat deploy --print` shows what is made of it. Nothing was deployed")
}

// index notes the line of each key of the file, by its path.
func (r *reader) index(data []byte) {
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil {
		return
	}
	r.lines = map[string]int{"": 1}
	if len(document.Content) > 0 {
		r.indexNode("", document.Content[0])
	}
}

func (r *reader) indexNode(path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for pair := range slices.Chunk(n.Content, 2) {
		at := strings.TrimPrefix(path+"."+pair[0].Value, ".")
		r.lines[at] = pair[0].Line
		r.indexNode(at, pair[1])
	}
}

// cut takes the section deploy out of a file. Both keep the lines of the file: what belongs to the other is blank.
func cut(data []byte) (rest, section []byte, err error) {
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return data, nil, nil // package config says what is wrong with it
	}
	root := document.Content[0]
	from, to := 0, 0
	for i := 0; i < len(root.Content); i += 2 {
		switch key := root.Content[i]; {
		case key.Value == "deploy" && from > 0:
			return nil, nil, failure.New(failure.Usage, "line %d: deploy stands there twice", key.Line)
		case key.Value == "deploy":
			from = key.Line
		case from > 0 && to == 0:
			to = key.Line
		}
	}
	if from == 0 {
		return data, nil, nil
	}
	if root.Style&yaml.FlowStyle != 0 {
		return nil, nil, failure.New(failure.Usage, "line %d: deploy must be a section of its own: write the file without { } around it", from)
	}
	if to == 0 {
		to = bytes.Count(data, []byte("\n")) + 2
	}
	i := -1
	for line := range bytes.Lines(data) {
		i++
		if i+1 >= from && i+1 < to {
			section, rest = append(section, line...), append(rest, '\n')
		} else {
			section, rest = append(section, '\n'), append(rest, line...)
		}
	}
	return rest, section, nil
}

// file is the section as it is written.
type file struct {
	Deploy struct {
		Stack   string `yaml:"stack"`
		Sources map[string]struct {
			when    `yaml:",inline"`
			Overdue string `yaml:"overdue"`
			KMSKey  string `yaml:"kms-key"`
		} `yaml:"sources"`
		Targets map[string]struct {
			KMSKey string `yaml:"kms-key"`
		} `yaml:"targets"`
		Drills map[string]struct {
			when   `yaml:",inline"`
			Source string `yaml:"source"`
			Target string `yaml:"target"`
			DryRun bool   `yaml:"dry-run"`
		} `yaml:"drills"`
		Immutability string `yaml:"immutability"`
		Mail         *struct {
			From     string `yaml:"from"`
			Identity string `yaml:"identity"`
			Existing bool   `yaml:"existing"`
		} `yaml:"mail"`
		Alarms oneOrMany `yaml:"alarms"`
		Budget *int      `yaml:"budget"`
		API    struct {
			Issuer      string    `yaml:"issuer"`
			Audience    oneOrMany `yaml:"audience"`
			ScopePrefix *string   `yaml:"scope-prefix"`
		} `yaml:"api"`
		Webhook *struct {
			URL string `yaml:"url"`
			Key string `yaml:"key"`
		} `yaml:"webhook"`
		SecretKeys oneOrMany         `yaml:"secret-keys"`
		Reserved   map[string]int    `yaml:"reserved-concurrency"`
		Boundary   string            `yaml:"permissions-boundary"`
		Tags       map[string]string `yaml:"tags"`
	} `yaml:"deploy"`
}

type when struct {
	Cron   string `yaml:"cron"`
	Zone   string `yaml:"zone"`
	Window string `yaml:"window"`
}

// oneOrMany is a list, or the one text of it.
type oneOrMany []string

// UnmarshalYAML reads both.
func (o *oneOrMany) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = oneOrMany{n.Value}
		return nil
	}
	return n.Decode((*[]string)(o))
}

// decode decodes the section. What has another shape was reported by package config, and is left out.
func (r *reader) decode(section []byte) (f file) {
	err := yaml.Unmarshal(section, &f)
	if err != nil && len(r.shapes) == 0 {
		r.wrong("", "is not of the form that infra/README.md shows")
	}
	return f
}

var (
	stackName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,50}$`)
	keyARN    = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$`)
	policyARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+$`)
	// A scope of OAuth (RFC 6749), with the longest of restore, read and run behind it: API Gateway takes 64 characters.
	scopePrefix = regexp.MustCompile(`^[!#-\[\]-~]{0,57}$`)
	length      = regexp.MustCompile(`^([1-9]\d{0,5})(m|h|d)$`)
	domain      = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$`)
)

// parseLength reads 30m, 29h, 8d.
func parseLength(text string) (time.Duration, bool) {
	m := length.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	var n int
	_, _ = fmt.Sscan(m[1], &n)
	return time.Duration(n) * map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]], true
}

func address(text string) bool {
	a, err := mail.ParseAddress(text)
	return len(text) <= 320 && err == nil && a.Name == "" && a.Address == text && !strings.ContainsAny(text, "\r\n")
}
