// Command long prints which tests show less with -short or the race detector, for a second run without either.
//
//	go run .ci/long.go packages FOLDER RACED   where they are
//	go run .ci/long.go run FOLDER RACED        the pattern for go test -run
//
// Of the package in FOLDER only the tests that match RACED have a first run; all others belong into the second.
//
// A test cannot be forgotten: it is listed where its code asks testing.Short, vaulttest.Calls or a constant of a file
// that is built with the race detector only, or mentions anything of its package's tests that does, by name, at any
// remove. Names count in every scope and of every type, so that rather a test too many is run.
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// sampler is the only code outside of tests that may ask testing.Short.
const sampler = "internal/local/vaulttest/vaulttest.go"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "long:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 || args[0] != "run" && args[0] != "packages" {
		return errors.New("three arguments: run or packages, a folder, a pattern")
	}
	raced, err := regexp.Compile(args[2])
	if err != nil {
		return err
	}
	folders, err := read()
	if err != nil {
		return err
	}
	if f := folders[filepath.FromSlash(args[1])]; f == nil {
		return fmt.Errorf("no tests in %s", args[1])
	} else {
		f.only(raced)
	}
	names := map[string]bool{}
	var packages []string
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		tests, err := folders[name].differing()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(tests) > 0 {
			packages = append(packages, "./"+filepath.ToSlash(name))
		}
		for _, test := range tests {
			names[test] = true
		}
	}
	if args[0] == "packages" {
		fmt.Println(strings.Join(packages, " "))
		return nil
	}
	fmt.Printf("^(%s)$\n", strings.Join(slices.Sorted(maps.Keys(names)), "|"))
	return nil
}

// folder is what the tests of a package declare. A name of a method has a dot in front; those of one name are one.
type folder struct {
	mentions map[string]map[string]bool // of a declaration: the names in it
	asks     map[string]bool            // declarations that are asked for -short or the race detector, or ask
}

func read() (map[string]*folder, error) {
	folders := map[string]*folder{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || path == "infra"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			if path = filepath.ToSlash(path); path != sampler && asks(file) {
				return fmt.Errorf("%s asks testing.Short or vaulttest.Calls; only tests do", path)
			}
			return nil
		}
		f := folders[filepath.Dir(path)]
		if f == nil {
			f = &folder{mentions: map[string]map[string]bool{}, asks: map[string]bool{}}
			folders[filepath.Dir(path)] = f
		}
		f.add(file)
		return nil
	})
	return folders, err
}

func (f *folder) add(file *ast.File) {
	raced := false
	for _, group := range file.Comments {
		for _, c := range group.List {
			words := strings.FieldsFunc(strings.TrimPrefix(c.Text, "//go:build"), func(r rune) bool { return strings.ContainsRune(" !()&|", r) })
			raced = raced || strings.HasPrefix(c.Text, "//go:build ") && slices.Contains(words, "race")
		}
	}
	declare := func(name string, node ast.Node) {
		if f.mentions[name] == nil {
			f.mentions[name] = map[string]bool{}
		}
		mentioned(node, f.mentions[name])
		f.asks[name] = f.asks[name] || raced || asks(node)
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				declare("."+d.Name.Name, d)
			} else {
				declare(d.Name.Name, d)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						declare(name.Name, v)
					}
				}
			}
		}
	}
}

// mentioned adds the names in code, those behind a dot with it.
func mentioned(node ast.Node, names map[string]bool) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			names["."+n.Sel.Name] = true
			mentioned(n.X, names)
			return false
		case *ast.Ident:
			names[n.Name] = true
		}
		return true
	})
}

// only has every test count as one that asks, unless it matches.
func (f *folder) only(raced *regexp.Regexp) {
	for name := range f.mentions {
		if isTest(name) && !raced.MatchString(name) {
			f.asks[name] = true
		}
	}
}

// isTest says what go test -run can name.
func isTest(name string) bool {
	for _, kind := range []string{"Test", "Fuzz", "Example"} {
		if strings.HasPrefix(name, kind) && name != "TestMain" {
			return true
		}
	}
	return false
}

// asks says whether code asks testing.Short or vaulttest.Calls.
func asks(node ast.Node) bool {
	found := false
	ast.Inspect(node, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				asked := x.Name + "." + s.Sel.Name
				found = found || asked == "testing.Short" || asked == "vaulttest.Calls"
			}
		}
		return !found
	})
	return found
}

// differing returns the tests. Something that asks and is reached by no test is an error: this program does not
// understand it.
func (f *folder) differing() ([]string, error) {
	marked := map[string]bool{}
	reached := map[string]bool{}
	for name, asks := range f.asks {
		if asks {
			marked[name] = true
		}
	}
	for again := true; again; {
		again = false
		for name, mentions := range f.mentions {
			for other := range mentions {
				if other == name || !marked[other] {
					continue
				}
				reached[other] = true
				if !marked[name] {
					marked[name], again = true, true
				}
			}
		}
	}
	var tests []string
	for _, name := range slices.Sorted(maps.Keys(marked)) {
		switch {
		case isTest(name):
			tests = append(tests, name)
		case !reached[name] && !strings.HasPrefix(name, "Benchmark"):
			return nil, fmt.Errorf("%s asks for -short or the race detector, but no test mentions it", name)
		}
	}
	return tests, nil
}
