package datasource_test

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/app"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

func listed(t *testing.T, seq iter.Seq2[app.Object, error]) []string {
	t.Helper()
	all := []string{}
	for o, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
	return all
}

// TestListAfter begins a listing after each of its keys, and after what is none, with several pages left.
func TestListAfter(t *testing.T) {
	objects := map[string]string{"up/": "", "up/dir/": "", "up/a": "a", "up/a b": "a", "up/ü + & # [1]:2.txt": "c", "upper": "no", "a": "no"}
	for n := range 1500 {
		objects[fmt.Sprintf("up/many/%04d", n)] = "x"
	}
	bucket := datasource.NewBucket(store(t, objects), "files", "up")
	whole, every := listed(t, bucket.List(t.Context())), listed(t, bucket.Every(t.Context()))
	if len(whole) != 1503 || len(every) != 1504 {
		t.Fatalf("%d and %d keys", len(whole), len(every))
	}
	for i, key := range every {
		if i > 5 && i < len(every)-3 && i%400 != 0 {
			continue
		}
		if diff := cmp.Diff(append([]string{}, every[i+1:]...), listed(t, bucket.EveryAfter(t.Context(), key))); diff != "" {
			t.Errorf("all after %q: %s", key, diff)
		}
	}
	for i, key := range whole {
		if i > 5 && i < len(whole)-3 && i%400 != 0 {
			continue
		}
		if diff := cmp.Diff(append([]string{}, whole[i+1:]...), listed(t, bucket.ListAfter(t.Context(), key))); diff != "" {
			t.Errorf("after %q: %s", key, diff)
		}
	}
	if diff := cmp.Diff(whole[2:], listed(t, bucket.ListAfter(t.Context(), "a c"))); diff != "" {
		t.Errorf("after what is no key: %s", diff)
	}
}

// TestListAfterIgnored is about a store that lists from the beginning whatever it is asked.
func TestListAfterIgnored(t *testing.T) {
	fake := gofakes3.New(s3mem.New()).Server()
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		query.Del("start-after")
		r.URL.RawQuery = query.Encode()
		fake.ServeHTTP(w, r)
	}))
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		put(t, c, key, key)
	}
	bucket := datasource.NewBucket(c, "files", "")
	var last error
	for o, err := range bucket.ListAfter(t.Context(), "b") {
		if last = err; err == nil {
			t.Errorf("it yields %q", o.Key)
		}
	}
	if failure.KindOf(last) != failure.Invalid || failure.HintOf(last) == "" || !strings.Contains(last.Error(), "start after") {
		t.Errorf("%v", last)
	}
}

func TestMark(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		want []bool
	}{
		"in order":               {[]string{"a", "b", "ü"}, []bool{true, true, true}},
		"what XML can't hold":    {[]string{"a", "a\ufffd", "b"}, []bool{true, false, true}},
		"out of order":           {[]string{"a", "c", "b", "d"}, []bool{true, true, false, false}},
		"twice":                  {[]string{"a", "a", "b"}, []bool{true, false, false}},
		"another store's order":  {[]string{"B", "a", "C"}, []bool{true, true, false}},
		"nothing before the key": {[]string{""}, []bool{false}},
	} {
		var m datasource.Mark
		var got []bool
		for _, key := range c.keys {
			got = append(got, m.Pass(key))
		}
		if diff := cmp.Diff(c.want, got); diff != "" || m.After != c.keys[len(c.keys)-1] {
			t.Errorf("%s: after %q: %s", name, m.After, diff)
		}
	}
}
