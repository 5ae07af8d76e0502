package s3model

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bucket is guarded by the server's mutex.
type bucket struct {
	objects map[string]*object
	sorted  []string // the keys in order; nil when they have changed
	uploads map[string]*upload
}

// object never changes; another one takes its place.
type object struct {
	content
	length   int64
	etag     string
	modified time.Time
	header   http.Header // Content-Type, X-Amz-Meta-…
	checksum string      // CRC-32 as S3 spells it, "" where the client sent none
	kind     string      // FULL_OBJECT or COMPOSITE
}

func (s *Server) find(name string) (*bucket, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	b, there := s.buckets[name]
	return b, there
}

func (s *Server) object(b *bucket, key string) (*object, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	o, there := b.objects[key]
	return o, there
}

// CreateBucket makes a bucket where there is none.
func (s *Server) CreateBucket(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = &bucket{objects: map[string]*object{}, uploads: map[string]*upload{}}
	}
}

// RemoveBucket forgets a bucket with all that is in it.
func (s *Server) RemoveBucket(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.buckets, name)
}

// Derived describes bytes that follow from a seed: size bytes from an offset of its endless stream.
type Derived struct {
	Seed         uint64
	Offset, Size int64
}

// Reader returns the bytes.
func (d Derived) Reader() (*io.SectionReader, error) {
	stream, err := generate(d.Seed)
	return io.NewSectionReader(stream, d.Offset, d.Size), err
}

// Put stores pieces one after the other as one object, without a checksum that clients could ask for. A piece is
// []byte, which the store keeps, or Derived, which costs nothing until it is copied or read. The bucket is created
// where it is missing.
func (s *Server) Put(bucket, key string, modified time.Time, pieces ...any) error {
	var whole content
	tag := maphash.Hash{}
	tag.SetSeed(identity)
	for _, piece := range pieces {
		switch p := piece.(type) {
		case []byte:
			_, _ = tag.Write(p)
			whole = append(whole, segment{&extent{ReaderAt: bytes.NewReader(p)}, 0, int64(len(p))})
		case Derived:
			stream, err := generate(p.Seed)
			if err != nil {
				return err
			}
			maphash.WriteComparable(&tag, p)
			moved := io.NewSectionReader(stream, p.Offset, p.Size)
			whole = append(whole, segment{&extent{ReaderAt: moved}, 0, p.Size})
		default:
			return fmt.Errorf("a piece of %s is a %T", key, piece)
		}
	}
	s.CreateBucket(bucket)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	size := whole.size()
	s.buckets[bucket].set(key, &object{content: whole, length: size, etag: opaque(size, tag.Sum64()), modified: modified.UTC(), header: http.Header{}})
	return nil
}

// Sum returns size and CRC-32 of what is stored at key; false where there is nothing. A derived object is read for it
// once: after that its copies take no time.
func (s *Server) Sum(bucket, key string) (size int64, crc uint32, ok bool) {
	b, there := s.find(bucket)
	if !there {
		return 0, 0, false
	}
	o, there := s.object(b, key)
	if !there {
		return 0, 0, false
	}
	crc, err := o.crc()
	return o.length, crc, err == nil
}

func (b *bucket) set(key string, o *object) {
	if b.objects[key] == nil {
		b.sorted = nil
	}
	b.objects[key] = o
}

func (b *bucket) remove(key string) {
	if b.objects[key] != nil {
		b.sorted = nil
		delete(b.objects, key)
	}
}

func (b *bucket) keys() []string {
	if b.sorted == nil {
		b.sorted = slices.Sorted(maps.Keys(b.objects))
	}
	return b.sorted
}

func (c *call) createBucket() error {
	if _, there := c.s.find(c.bucket); there {
		return refuse(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	c.s.CreateBucket(c.bucket)
	return nil
}

// described returns the headers of the request that an object keeps.
func described(h http.Header) http.Header {
	kept := http.Header{}
	for name, values := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-") || name == "Content-Type" || name == "Content-Disposition" || name == "Cache-Control" {
			kept[name] = values
		}
	}
	return kept
}

// publish puts o in its place, if the conditions of the request allow it.
func (c *call) publish(b *bucket, o *object) error {
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	if err := c.mayWrite(b); err != nil {
		return err
	}
	o.modified = time.Now().UTC().Truncate(time.Second)
	b.set(c.key, o)
	return nil
}

// mayWrite compares the conditions with what is there. The mutex is held.
func (c *call) mayWrite(b *bucket) error {
	there := b.objects[c.key]
	if c.r.Header.Get("If-None-Match") == "*" && there != nil {
		return failedPrecondition()
	}
	if match := c.r.Header.Get("If-Match"); match != "" {
		if there == nil {
			return noSuchKey()
		}
		if !same(match, there.etag) {
			return failedPrecondition()
		}
	}
	return nil
}

func same(condition, etag string) bool {
	return condition == "*" || strings.Trim(condition, `"`) == etag
}

func failedPrecondition() error {
	return refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

func noSuchKey() error {
	return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
}

func (c *call) putObject(b *bucket) error {
	got, err := c.receive()
	if err != nil {
		return err
	}
	o := &object{content: got.content, length: got.length, etag: got.etag, header: described(c.r.Header)}
	if got.sent {
		o.checksum, o.kind = encode(got.crc), "FULL_OBJECT"
		c.w.Header().Set("X-Amz-Checksum-Crc32", o.checksum)
		c.w.Header().Set("X-Amz-Checksum-Type", o.kind)
	}
	if err := c.publish(b, o); err != nil {
		return err
	}
	c.w.Header().Set("ETag", quote(o.etag))
	return nil
}

func quote(etag string) string { return `"` + etag + `"` }

func (c *call) getObject(b *bucket) error {
	o, there := c.s.object(b, c.key)
	if !there {
		return noSuchKey()
	}
	if match := c.r.Header.Get("If-Match"); match != "" && !same(match, o.etag) {
		return failedPrecondition()
	}
	h := c.w.Header()
	h.Set("ETag", quote(o.etag))
	h.Set("Last-Modified", o.modified.Format(http.TimeFormat))
	if match := c.r.Header.Get("If-None-Match"); match != "" && same(match, o.etag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	from, length, partly, err := byteRange(c.r.Header.Get("Range"), o.length)
	if err != nil {
		return err
	}
	c.describe(o, partly)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if partly {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, o.length))
		c.w.WriteHeader(http.StatusPartialContent)
	}
	if c.r.Method == http.MethodHead {
		return nil
	}
	return c.send(o.content, from, length)
}

func (c *call) describe(o *object, partly bool) {
	h := c.w.Header()
	h.Set("Content-Type", "binary/octet-stream")
	maps.Copy(h, o.header)
	h.Set("Accept-Ranges", "bytes")
	if o.checksum != "" && !partly && c.r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
		h.Set("X-Amz-Checksum-Crc32", o.checksum)
		h.Set("X-Amz-Checksum-Type", o.kind)
	}
	for name, header := range map[string]string{"response-content-type": "Content-Type", "response-content-disposition": "Content-Disposition"} {
		if value := c.arg(name); value != "" {
			h.Set(header, value)
		}
	}
}

// byteRange reads "bytes=a-b", "bytes=a-" and "bytes=-n". What it cannot read counts as none, as HTTP wants it.
func byteRange(text string, size int64) (from, length int64, partly bool, err error) {
	spec, found := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, size, false, nil
	}
	a, errA := strconv.ParseInt(first, 10, 64)
	b, errB := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && errB == nil:
		a, b = max(size-b, 0), size-1
	case errA == nil && last == "":
		b = size - 1
	case errA != nil || errB != nil || b < a:
		return 0, size, false, nil
	}
	if a >= size {
		return 0, 0, false, refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
	}
	return a, min(b, size-1) - a + 1, true, nil
}

func (c *call) deleteObject(b *bucket) error {
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	if match := c.r.Header.Get("If-Match"); match != "" {
		switch there := b.objects[c.key]; {
		case there == nil:
			return noSuchKey()
		case !same(match, there.etag):
			return failedPrecondition()
		}
	}
	b.remove(c.key)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) deleteObjects(b *bucket) error {
	var wanted deleteRequest
	if err := xml.NewDecoder(io.LimitReader(c.r.Body, 4<<20)).Decode(&wanted); err != nil || len(wanted.Objects) > page {
		return malformed()
	}
	c.s.mutex.Lock()
	result := deleteResult{}
	for _, o := range wanted.Objects {
		b.remove(o.Key)
		if !wanted.Quiet {
			result.Deleted = append(result.Deleted, o)
		}
	}
	c.s.mutex.Unlock()
	return c.answer(result)
}

// source returns what the request copies from, or why it may not be copied.
func (c *call) source() (*object, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(c.r.Header.Get("X-Amz-Copy-Source"), "/"), "?versionId=")
	name, err := url.QueryUnescape(name) // "+" is a space, as on AWS
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "InvalidArgument", "Copy Source must be URL-encoded.")
	}
	if c.s.options.DenyCopies {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	bucketName, key, _ := strings.Cut(name, "/")
	b, there := c.s.find(bucketName)
	if !there {
		return nil, refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	o, there := c.s.object(b, key)
	if !there {
		return nil, noSuchKey()
	}
	if match := c.r.Header.Get("X-Amz-Copy-Source-If-Match"); match != "" && !same(match, o.etag) {
		return nil, failedPrecondition()
	}
	if match := c.r.Header.Get("X-Amz-Copy-Source-If-None-Match"); match != "" && same(match, o.etag) {
		return nil, failedPrecondition()
	}
	return o, nil
}

// copying counts a copy and takes the time that it needs.
func (c *call) copying(length int64) error {
	c.worker.add(Counters{Copied: length})
	if rate := c.s.options.CopyRate; rate > 0 {
		return c.wait(time.Duration(float64(length*c.s.factor()) / float64(rate) * float64(time.Second)))
	}
	return nil
}

func (c *call) copyObject(b *bucket) error {
	from, err := c.source()
	if err != nil {
		return err
	}
	if from.length > maxPart {
		return tooLargeSource()
	}
	if err := c.copying(from.length); err != nil {
		return err
	}
	o := &object{content: from.content, length: from.length, etag: from.etag, header: from.header, checksum: from.checksum, kind: from.kind}
	if c.r.Header.Get("X-Amz-Metadata-Directive") == "REPLACE" {
		o.header = described(c.r.Header)
	}
	if from.kind == "COMPOSITE" || c.r.Header.Get("X-Amz-Checksum-Algorithm") == "CRC32" {
		crc, err := from.crc()
		if err != nil {
			return err
		}
		o.checksum, o.kind = encode(crc), "FULL_OBJECT"
	}
	if err := c.publish(b, o); err != nil {
		return err
	}
	result := copyResult{XMLName: xml.Name{Local: "CopyObjectResult"}, ETag: quote(o.etag), LastModified: stamp(o.modified)}
	if !c.s.options.NoPartCRC {
		result.ChecksumCRC32 = o.checksum
	}
	return c.answer(result)
}

func tooLargeSource() error {
	return refuse(http.StatusBadRequest, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPart))
}
