//go:build race

package step_test

// raced says that the race detector watches, which takes ten times as long and much memory.
const raced = true
