//go:build race

package local

import "os"

// otherProgram returns the program to start as the server in place of this one, or "". Only a build with the race
// detector looks for one, which nobody but tests has: under it the server takes most of the time of their packages, and
// the tests of this package are what looks for the server's races.
func otherProgram() string { return os.Getenv("LIFEBOAT_TEST_SERVER") }
