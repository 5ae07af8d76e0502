package lines_test

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"

	"lifeboat/internal/lines"
)

// numbers is a list of lines "0", "1", … that ends with err.
func numbers(n int, err error) func() ([]byte, error) {
	at := 0
	var line []byte
	return func() ([]byte, error) {
		if at == n {
			return nil, err
		}
		line = strconv.AppendInt(line[:0], int64(at), 10) // the same bytes each time
		at++
		return line, nil
	}
}

func parse(line []byte) (int, error) { return strconv.Atoi(string(line)) }

func TestOrder(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 300_000} {
		broken := errors.New("the disk is gone")
		want := 0
		var last error
		for v, err := range lines.Decode(numbers(n, broken), parse) {
			if err != nil {
				last = err
				break
			}
			if v != want {
				t.Fatalf("%d of %d: got %d", want, n, v)
			}
			want++
		}
		if want != n || !errors.Is(last, broken) {
			t.Errorf("%d of %d, %v", want, n, last)
		}
	}
}

// TestStop: nobody reads on after the loop was left, at whatever line.
func TestStop(t *testing.T) {
	for _, at := range []int{0, 1, 40_000, 99_999} {
		over := false
		next := numbers(100_000, io.EOF)
		for v := range lines.Decode(func() ([]byte, error) {
			if over {
				t.Error("read on")
			}
			return next()
		}, parse) {
			if v == at {
				break
			}
		}
		over = true
	}
}

// TestBadLine: what stands before a bad line is yielded, then its error, then nothing.
func TestBadLine(t *testing.T) {
	for _, at := range []int{0, 5, 60_000} {
		seen := 0
		var last error
		for v, err := range lines.Decode(numbers(100_000, io.EOF), func(line []byte) (int, error) {
			n, err := parse(line)
			if n == at {
				err = fmt.Errorf("line %d is bad", n)
			}
			return n, err
		}) {
			if last != nil {
				t.Fatal("something follows the error")
			}
			if err != nil {
				last = err
				continue
			}
			if v != seen {
				t.Fatal(v)
			}
			seen++
		}
		if seen != at || last == nil || last.Error() != fmt.Sprintf("line %d is bad", at) {
			t.Errorf("%d values, %v", seen, last)
		}
	}
}
