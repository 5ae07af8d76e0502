// Command lifeboat makes complete, proven, restorable backups of self-hosted applications.
package main

import (
	"os"
	"runtime/debug"

	"lifeboat/internal/cli"
	"lifeboat/internal/local"
)

// memory is what the collector tries to stay below, in bytes; GOMEMLIMIT overrides it. Buffers of a backup come and go
// in tens of megabytes, and would otherwise pile up between two collections.
const memory = 200 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	if local.ChildMain() { // this process is the vault's S3 server
		return
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
