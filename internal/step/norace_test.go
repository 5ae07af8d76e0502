//go:build !race

package step_test

const raced = false
