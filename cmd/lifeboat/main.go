// Command lifeboat makes complete, proven, restorable backups of self-hosted applications.
package main

import (
	"os"

	"lifeboat/internal/cli"
	"lifeboat/internal/local"
)

func main() {
	if local.ChildMain() { // this process is the vault's S3 server
		return
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
