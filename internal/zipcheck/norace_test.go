//go:build !race

package zipcheck_test

const raceEnabled = false
