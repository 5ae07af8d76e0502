package files

import (
	"context"
	"fmt"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
)

// bucket lists a bucket.
func (l *listing) bucket(ctx context.Context, b *datasource.Bucket) error {
	for o, err := range b.EveryAfter(ctx, l.mark.After) {
		if err != nil {
			return fmt.Errorf("list the files: %w", err)
		}
		if err := l.key(o); err != nil {
			return err
		}
		if may := l.mark.Pass(o.Key); may && l.pausing != nil {
			if err := l.pausing.Pause(l.position); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	return nil
}

func (l *listing) key(o app.Object) error {
	name, folder := marker(o)
	if !l.filter.takes(strings.Split(name, "/"), folder, l.used) {
		return nil
	}
	if folder {
		l.counts.Directories++
		return l.directory(name, o)
	}
	return l.file(name, o)
}

// marker returns the name of the folder that an object marks, or the object's own.
func marker(o app.Object) (name string, folder bool) {
	name, ends := strings.CutSuffix(o.Key, "/")
	if o.Size == 0 && ends && name != "" && !strings.HasSuffix(name, "/") {
		return name, true
	}
	return o.Key, false
}
