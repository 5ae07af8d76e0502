// Command infra writes the CloudFormation template of the stack, with everything that a deployment uploads, to cdk.out.
// It needs no network and no credentials. `make synth` runs it, and so does the cdk command line.
//
//	LIFEBOAT_CONFIG   path of lifeboat.yaml; ../lifeboat.yaml where nothing is said
//	LIFEBOAT_DIST     the folder of the functions' zips; ../dist
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/infra/stack"
	"lifeboat/internal/deployment"
	"lifeboat/internal/failure"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "infra: error:", err)
		if hint := failure.HintOf(err); hint != "" {
			fmt.Fprintln(os.Stderr, "infra: hint:", hint)
		}
		os.Exit(2)
	}
}

func run() error {
	o, err := deployment.Load(cmp.Or(os.Getenv("LIFEBOAT_CONFIG"), "../lifeboat.yaml"))
	if err != nil {
		return err
	}
	for _, warning := range o.Warnings {
		fmt.Fprintln(os.Stderr, "infra: warning:", warning)
	}
	if err := findNode(); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "lifeboat-infra-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	defer jsii.Close()
	return synthesize(stack.Props{Options: o, Dist: cmp.Or(os.Getenv("LIFEBOAT_DIST"), "../dist"), Work: work}, outdir())
}

// findNode looks for what CDK runs on, which says it less clearly.
func findNode() error {
	if _, err := exec.LookPath(cmp.Or(os.Getenv("JSII_NODE"), "node")); err != nil {
		return failure.New(failure.Usage, "CDK needs Node.js, and there is no node").WithHint("install Node.js 22, or name its program in JSII_NODE")
	}
	return nil
}

// outdir is where the template goes; nil leaves it to the cdk command line, which has asked.
func outdir() *string {
	if os.Getenv("CDK_OUTDIR") != "" {
		return nil
	}
	return jsii.String("cdk.out")
}

// synthesize makes the app and writes it. CDK panics where something is wrong; that is an error here.
func synthesize(props stack.Props, out *string) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errors.Join(err, fmt.Errorf("the stack could not be made: %v", value))
		}
	}()
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: out, AnalyticsReporting: jsii.Bool(false), Context: flags()})
	stack.New(app, props)
	app.Synth(nil)
	return nil
}
