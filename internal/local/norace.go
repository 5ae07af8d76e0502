//go:build !race

package local

// otherProgram returns "": the server is this program.
func otherProgram() string { return "" }
