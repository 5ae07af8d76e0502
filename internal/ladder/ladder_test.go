// Package ladder holds the layers: its test reads who imports whom and fails where an import points upwards.
//
// A package stands on one rung together with the packages below its folder, and imports only lower rungs. Tests
// may import what they like. A new package needs a rung; a rung whose package is still missing is ignored.
package ladder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rungs are the layers from the bottom up: the way of the data from left to right. Packages of one rung don't
// import one another. A "*" stands for one element; each package that it matches stands for itself.
var rungs = [][]string{
	{"internal/failure", "internal/zipfmt", "internal/plain", "internal/lines"},
	{"internal/zipcheck"},
	{"internal/secret", "internal/progress", "internal/netguard", "workflow"},
	{"internal/backup"},
	{"internal/config", "internal/keyring"},
	{"internal/app"},
	{"internal/datasource"},
	{"internal/app/*"}, // the adapters
	{"internal/vault"},
	{"internal/manifest"},
	{"internal/pool"},
	{"internal/pack"},
	{"internal/archive"},
	{"internal/catalog"},
	{"events"},
	{"internal/link", "internal/retention", "internal/estimate", "internal/verify", "internal/fetch", "internal/foreign"},
	{"internal/notify", "internal/restore"},
	{"internal/step"},
	{"internal/replay"},
	{"internal/setup", "internal/s3model"},
	{"internal/machine", "internal/lambdafn", "internal/local"},
	{"internal/app/apptest", "internal/doctor", "internal/deployment"},
	{"internal/console"},
	{"internal/api"},
	{"internal/cli"},
	{"cmd/*", "functions/*"},
}

// rule is about the packages that who matches. A pattern matches a folder and all below it.
type rule struct {
	who   string
	not   string   // but not this one
	only  []string // of ours, it imports nothing else
	never []string // it reaches none of these, not even through others
	by    []string // nobody else imports it
	why   string
}

var rules = []rule{
	{who: "internal/failure", only: []string{}, why: "it is the vocabulary of all others"},
	{who: "internal/zipfmt", only: []string{}, why: "a format is a small package of its own"},
	{who: "internal/machine", only: []string{"internal/failure"}, why: "the runner knows no backups"},
	{who: "internal/app/apptest", by: []string{}, why: "it is for tests"},
	{who: "internal/app/*", not: "internal/app/apptest", never: []string{"internal/vault", "internal/step"}, why: "an adapter knows one application and nothing else"},
	{
		who: "functions/*", never: []string{"internal/local", "github.com/versity/versitygw"},
		why: "on AWS there is a real S3",
	},
	{who: "internal/local", by: []string{"internal/cli", "internal/app/apptest", "cmd/*"}, why: "the pipeline must not know where it runs"},
	{who: "github.com/aws/aws-lambda-go", by: []string{"internal/lambdafn"}, why: "steps are plain functions"},
}

// pkg is what `go list` says of a package. Paths of ours have no module name in front.
type pkg struct {
	ImportPath string
	Imports    []string // without those of tests
	Deps       []string // all that it reaches
}

func TestLadder(t *testing.T) {
	packages := list(t)
	if len(packages) == 0 {
		t.Fatal("go list found no packages")
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

const module = "lifeboat/"

// list returns the packages of the module. Those that don't compile count as far as they can be read.
func list(t *testing.T) []pkg {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	command.Dir = "../.."
	out, err := command.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		packages = append(packages, pkg{ours(p.ImportPath), each(p.Imports, ours), each(p.Deps, ours)})
	}
}

func ours(importPath string) string { return strings.TrimPrefix(importPath, module) }

func each(list []string, change func(string) string) []string {
	changed := make([]string, len(list))
	for i, s := range list {
		changed[i] = change(s)
	}
	return changed
}

// violations returns one sentence for each import that should not be.
func violations(packages []pkg) []string {
	known := map[string]bool{}
	for _, p := range packages {
		known[p.ImportPath] = true
	}
	var found []string
	for _, p := range packages {
		found = append(found, climbs(p, known)...)
		for _, r := range rules {
			found = append(found, r.broken(p, known)...)
		}
	}
	return found
}

// climbs returns the imports of p that stand on p's own rung or above.
func climbs(p pkg, known map[string]bool) []string {
	if strings.HasPrefix(p.ImportPath, "internal/ladder") || strings.HasPrefix(p.ImportPath, "internal/deps") {
		return nil
	}
	mine, rung := place(p.ImportPath)
	if rung < 0 {
		return []string{p.ImportPath + " stands on no rung: add it to rungs"}
	}
	var found []string
	for _, to := range p.Imports {
		theirs, above := place(to)
		if known[to] && above >= rung && theirs != mine {
			found = append(found, fmt.Sprintf("%s must not import %s, which does not stand below it", p.ImportPath, to))
		}
	}
	return found
}

// place returns the folder that stands for importPath on the ladder, and its rung; -1 for none.
func place(importPath string) (folder string, rung int) {
	rung = -1
	for i, patterns := range rungs {
		for _, pattern := range patterns {
			// The longest folder wins, and of two that are equally long the one without a "*".
			f, ok := match(pattern, importPath)
			if ok && (len(f) > len(folder) || len(f) == len(folder) && !strings.Contains(pattern, "*")) {
				folder, rung = f, i
			}
		}
	}
	return folder, rung
}

// match returns the folder of importPath that the pattern names, if it lies there.
func match(pattern, importPath string) (string, bool) {
	n := strings.Count(pattern, "/") + 1
	elements := strings.Split(importPath, "/")
	if len(elements) < n {
		return "", false
	}
	folder := strings.Join(elements[:n], "/")
	ok, err := path.Match(pattern, folder)
	return folder, ok && err == nil
}

func matchAny(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		_, ok := match(pattern, importPath)
		return ok
	})
}

// broken returns how p breaks the rule.
func (r rule) broken(p pkg, known map[string]bool) []string {
	var found []string
	self, concerned := match(r.who, p.ImportPath)
	concerned = concerned && p.ImportPath != r.not
	report := func(verb, to string) {
		found = append(found, fmt.Sprintf("%s must not %s %s: %s", p.ImportPath, verb, to, r.why))
	}
	for _, to := range p.Imports {
		_, isWho := match(r.who, to)
		theirs, _ := place(to)
		switch {
		case concerned && r.only != nil && known[to] && theirs != self && !matchAny(r.only, to):
			report("import", to)
		case r.by != nil && isWho && !concerned && !matchAny(r.by, p.ImportPath):
			report("import", to)
		}
	}
	for _, to := range p.Deps {
		if concerned && matchAny(r.never, to) {
			report("reach", to)
		}
	}
	return found
}

// TestViolations makes sure that the ladder holds: each wrong import is seen, and nothing else is.
func TestViolations(t *testing.T) {
	packages := []pkg{
		{ImportPath: "internal/failure", Imports: []string{"errors", "internal/backup"}},
		{ImportPath: "internal/backup", Imports: []string{"internal/failure"}},
		{ImportPath: "internal/app/zipline", Imports: []string{"internal/app/zipline/standin", "internal/app/labii"}, Deps: []string{"internal/vault/x"}},
		{ImportPath: "internal/app/zipline/standin"},
		{ImportPath: "internal/app/labii", Imports: []string{"internal/app"}},
		{ImportPath: "internal/app", Imports: []string{"github.com/aws/aws-lambda-go/lambda"}},
		{ImportPath: "internal/local", Imports: []string{"internal/vault", "github.com/versity/versitygw/s3api"}},
		{ImportPath: "internal/vault"},
		{ImportPath: "internal/machine", Imports: []string{"internal/failure", "internal/machine/x", "internal/backup"}},
		{ImportPath: "internal/machine/x"},
		{ImportPath: "internal/lambdafn", Imports: []string{"github.com/aws/aws-lambda-go/lambda"}},
		{ImportPath: "internal/api", Imports: []string{"internal/local"}},
		{ImportPath: "internal/cli", Imports: []string{"internal/local", "internal/api"}},
		{ImportPath: "functions/copy", Imports: []string{"internal/lambdafn"}, Deps: []string{"github.com/versity/versitygw/auth", "fmt"}},
		{ImportPath: "internal/helpers"},
	}
	want := []string{
		"internal/failure must not import internal/backup, which does not stand below it",
		"internal/failure must not import internal/backup: it is the vocabulary of all others",
		"internal/app/zipline must not import internal/app/labii, which does not stand below it",
		"internal/app/zipline must not reach internal/vault/x: an adapter knows one application and nothing else",
		"internal/app must not import github.com/aws/aws-lambda-go/lambda: steps are plain functions",
		"internal/machine must not import internal/backup: the runner knows no backups",
		"internal/api must not import internal/local: the pipeline must not know where it runs",
		"functions/copy must not reach github.com/versity/versitygw/auth: on AWS there is a real S3",
		"internal/helpers stands on no rung: add it to rungs",
	}
	if diff := cmp.Diff(want, violations(packages)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
