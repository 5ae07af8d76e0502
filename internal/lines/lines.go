// Package lines writes lists of JSON Lines, and decodes them on several processors: reading millions of lines one after
// the other is what takes the time of a plan.
package lines

import (
	"encoding/json"
	"io"
	"iter"
	"runtime"
)

// Write writes a value as one line, and returns how many bytes that were.
func Write(to io.Writer, value any) (int, error) {
	line, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	return to.Write(append(line, '\n'))
}

const (
	block = 128 << 10 // bytes that one processor decodes at a time, about
	most  = 500       // lines of a block: a short line may become a large value
	ahead = 3         // blocks under way for each processor
)

// Decode yields what decode makes of each line, in their order. next returns the next line without its newline, which
// stays valid until it is called again, or an error, which ends the list: io.EOF is yielded like any other. next is
// called from one goroutine, and not after the loop has ended; decode from several.
func Decode[T any](next func() ([]byte, error), decode func(line []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		queue := make(chan chan decoded[T], ahead*runtime.GOMAXPROCS(0))
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer close(queue)
			feed(next, decode, queue, stop)
		}()
		defer func() { <-ended }()
		defer close(stop)
		for one := range queue {
			d := <-one
			for _, v := range d.values {
				if !yield(v, nil) {
					return
				}
			}
			if d.err != nil {
				var zero T
				yield(zero, d.err)
				return
			}
		}
	}
}

// decoded is a block of values, and the error behind them.
type decoded[T any] struct {
	values []T
	err    error
}

func feed[T any](next func() ([]byte, error), decode func([]byte) (T, error), queue chan<- chan decoded[T], stop <-chan struct{}) {
	for {
		data, ends, err := read(next)
		one := make(chan decoded[T], 1)
		select {
		case queue <- one:
		case <-stop:
			return
		}
		go func() {
			var d decoded[T]
			from := 0
			for _, to := range ends {
				v, failed := decode(data[from:to])
				if failed != nil {
					d.err = failed
					break
				}
				d.values = append(d.values, v)
				from = to
			}
			if d.err == nil {
				d.err = err
			}
			one <- d
		}()
		if err != nil {
			return
		}
	}
}

// read returns lines of about one block, and where each ends.
func read(next func() ([]byte, error)) (data []byte, ends []int, err error) {
	for len(data) < block && len(ends) < most {
		line, err := next()
		if err != nil {
			return data, ends, err
		}
		if data == nil {
			data = make([]byte, 0, block+block/4)
		}
		data = append(data, line...)
		ends = append(ends, len(data))
	}
	return data, ends, nil
}
