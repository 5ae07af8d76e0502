package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxItem is how long a line of an ItemReader's file may be.
const maxItem = 8 << 20

// items yields the items of a Map; an error is the last thing it yields.
func (r *run) items(ctx context.Context, s *state, sc scope) iter.Seq2[any, error] {
	if s.mapping.reader != nil {
		return r.readItems(ctx, s.mapping.reader, sc)
	}
	return func(yield func(any, error) bool) {
		v, ok := sc.find(s.mapping.items)
		if !ok {
			yield(nil, runtimeFault("Invalid path '%s': it could not be found in the input '%s'", s.mapping.items.src, text(sc.root(s.mapping.items))))
			return
		}
		list, ok := v.([]any)
		if !ok {
			yield(nil, runtimeFault("Reference path \"%s\" must point to array.", s.mapping.items.src))
			return
		}
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// readItems yields the lines of an ItemReader's object; at most one is held at a time.
func (r *run) readItems(ctx context.Context, reader *itemReader, sc scope) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		bucket, err := placeText(reader.bucket, "ItemReader", "Bucket", sc)
		if err != nil {
			yield(nil, err)
			return
		}
		key, err := placeText(reader.key, "ItemReader", "Key", sc)
		if err != nil {
			yield(nil, err)
			return
		}
		if err := r.readObject(ctx, bucket, key, yield); err != nil {
			yield(nil, readFault(ctx, bucket, key, err))
		}
	}
}

// readFault names an error of the item source, or says that the run was stopped while it was read.
func readFault(ctx context.Context, bucket, key string, err error) error {
	if ctx.Err() != nil {
		return errStopped
	}
	return &fault{nameItemReader, fmt.Sprintf("s3://%s/%s: %v", bucket, key, err)}
}

// readObject yields the lines of an object; it returns an error only if yield has not returned false.
func (r *run) readObject(ctx context.Context, bucket, key string, yield func(any, error) bool) error {
	if r.engine.Read == nil {
		return errors.New("no reader is set")
	}
	body, err := r.engine.Read(ctx, bucket, key)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxItem+1)
	for n := 1; lines.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		item, err := decode(line)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the value ends early")
		}
		if err != nil {
			return fmt.Errorf("line %d is not one JSON value: %w", n, err)
		}
		if !yield(item, nil) {
			return nil
		}
	}
	return lines.Err()
}

// checkWriter makes sure that the parameters of a ResultWriter are there, as Step Functions would.
func checkWriter(w *resultWriter, sc scope) error {
	if w == nil {
		return nil
	}
	_, err := placeText(w.bucket, "ResultWriter", "Bucket", sc)
	if err == nil {
		_, err = placeText(w.prefix, "ResultWriter", "Prefix", sc)
	}
	return err
}

// placeText fills one parameter of an ItemReader or a ResultWriter.
func placeText(t template, owner, field string, sc scope) (string, error) {
	filled, err := t.fill(sc)
	if err != nil {
		return "", err
	}
	object, _ := filled.(map[string]any)
	s, ok := object[field].(string)
	if !ok || s == "" {
		return "", runtimeFault("The field '%s' of the %s must be a string, not '%s'", field, owner, text(object[field]))
	}
	return s, nil
}
