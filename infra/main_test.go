package main

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/jsii-runtime-go"

	"lifeboat/infra/stack"
	"lifeboat/internal/deployment"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/local"
)

// made is the template of testdata/lifeboat.yaml. It is synthesized once, with CDK's own validation, whose findings are
// errors; what the tests then look at is plain JSON.
var made template

func TestMain(m *testing.M) {
	if local.ChildMain() { // the vault of the deployable run
		return
	}
	os.Exit(func() int {
		if err := findNode(); err != nil {
			fmt.Println("infra:", err)
			return 1
		}
		folder, err := os.MkdirTemp("", "lifeboat-infra-test-")
		if err != nil {
			fmt.Println("infra:", err)
			return 1
		}
		defer os.RemoveAll(folder)
		defer jsii.Close()
		if made, err = synthesized(folder, "testdata/lifeboat.yaml"); err != nil {
			fmt.Println("infra:", err)
			return 1
		}
		return m.Run()
	}())
}

// properties returns what a stack of a configuration is made of, with zips that no function could run from.
func properties(folder, config string) (stack.Props, error) {
	o, err := deployment.Load(config)
	if err != nil {
		return stack.Props{}, err
	}
	work, err := os.MkdirTemp(folder, "work-")
	if err != nil {
		return stack.Props{}, err
	}
	for _, f := range deployed.Functions {
		if err := dummy(filepath.Join(work, f.Name+".zip"), f.Name); err != nil {
			return stack.Props{}, err
		}
	}
	return stack.Props{Options: o, Dist: work, Work: work}, nil
}

func dummy(path, content string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := zip.NewWriter(file)
	bootstrap, err := w.Create("bootstrap")
	if err != nil {
		return err
	}
	if _, err := bootstrap.Write([]byte(content)); err != nil {
		return err
	}
	return w.Close()
}

func synthesized(folder, config string) (template, error) {
	props, err := properties(folder, config)
	if err != nil {
		return template{}, err
	}
	out := filepath.Join(props.Work, "cdk.out")
	if err := synthesize(props, &out); err != nil {
		return template{}, err
	}
	data, err := os.ReadFile(filepath.Join(out, props.Options.Stack+".template.json"))
	if err != nil {
		return template{}, err
	}
	t := template{text: data}
	return t, json.Unmarshal(data, &t)
}

// variant synthesizes testdata/lifeboat.yaml with a text replaced by another.
func variant(t *testing.T, edit func(config string) string) template {
	t.Helper()
	data, err := os.ReadFile("testdata/lifeboat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "lifeboat.yaml")
	if err := os.WriteFile(path, []byte(edit(string(data))), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := synthesized(folder, path)
	if err != nil {
		t.Fatal(err)
	}
	return made
}
