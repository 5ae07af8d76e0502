package s3model

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// upload is guarded by the server's mutex.
type upload struct {
	id        string
	key       string
	header    http.Header
	algorithm string // of the checksums: "" or CRC32; others are kept as a name only
	kind      string // FULL_OBJECT or COMPOSITE
	begun     time.Time
	parts     map[int]*part
}

// part never changes; another one takes its number.
type part struct {
	blob
	stored   uint32 // the checksum that the store believes in: not that of the bytes under WrongPartCRC
	modified time.Time
}

func (u *upload) checked() bool { return u.algorithm == "CRC32" }

func (c *call) createUpload(b *bucket) error {
	u := &upload{
		key: c.key, header: described(c.r.Header), parts: map[int]*part{}, begun: time.Now().UTC(),
		algorithm: c.r.Header.Get("X-Amz-Checksum-Algorithm"), kind: c.r.Header.Get("X-Amz-Checksum-Type"),
	}
	if u.checked() && u.kind == "" {
		u.kind = "COMPOSITE"
	}
	c.s.mutex.Lock()
	c.s.next++
	u.id = fmt.Sprintf("upload-%08d", c.s.next)
	b.uploads[u.id] = u
	c.s.mutex.Unlock()
	if u.algorithm != "" {
		c.w.Header().Set("X-Amz-Checksum-Algorithm", u.algorithm)
		c.w.Header().Set("X-Amz-Checksum-Type", u.kind)
	}
	return c.answer(initiated{Bucket: c.bucket, Key: c.key, UploadID: u.id})
}

// upload returns the upload that the request names.
func (c *call) upload(b *bucket) (*upload, error) {
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	u, there := b.uploads[c.arg("uploadId")]
	if !there || u.key != c.key {
		return nil, noSuchUpload()
	}
	return u, nil
}

func noSuchUpload() error {
	return refuse(http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
}

func (c *call) number() (int, error) {
	number, err := strconv.Atoi(c.arg("partNumber"))
	if err != nil || number < 1 || number > maxParts {
		return 0, refuse(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and %d, inclusive", maxParts)
	}
	return number, nil
}

// keep files a part, unless the upload has ended meanwhile.
func (c *call) keep(b *bucket, u *upload, number int, p *part) error {
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	if b.uploads[u.id] == nil {
		return noSuchUpload()
	}
	p.modified = time.Now().UTC()
	u.parts[number] = p
	return nil
}

func (c *call) uploadPart(b *bucket) error {
	number, err := c.number()
	if err != nil {
		return err
	}
	u, err := c.upload(b)
	if err != nil {
		return err
	}
	got, err := c.receive()
	if err != nil {
		return err
	}
	if u.checked() && !got.sent {
		return refuse(http.StatusBadRequest, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: CRC32, actual checksum Type: null")
	}
	if err := c.keep(b, u, number, &part{blob: got, stored: got.crc}); err != nil {
		return err
	}
	c.w.Header().Set("ETag", quote(got.etag))
	if got.sent {
		c.w.Header().Set("X-Amz-Checksum-Crc32", encode(got.crc))
	}
	return nil
}

func (c *call) copyPart(b *bucket) error {
	number, err := c.number()
	if err != nil {
		return err
	}
	u, err := c.upload(b)
	if err != nil {
		return err
	}
	source, err := c.source()
	if err != nil {
		return err
	}
	from, length, ranged, err := c.copyRange(source)
	if err != nil {
		return err
	}
	if err := c.copying(length); err != nil {
		return err
	}
	got, err := blobOf(source.slice(from, length))
	if err != nil {
		return err
	}
	p := &part{blob: got, stored: got.crc}
	if c.s.options.WrongPartCRC && ranged && u.checked() && source.checksum != "" && source.kind == "FULL_OBJECT" {
		if p.stored, err = source.crc(); err != nil {
			return err
		}
	}
	if err := c.keep(b, u, number, p); err != nil {
		return err
	}
	result := copyResult{XMLName: xml.Name{Local: "CopyPartResult"}, ETag: quote(got.etag), LastModified: stamp(p.modified)}
	if u.checked() && !c.s.options.NoPartCRC {
		result.ChecksumCRC32 = encode(p.stored)
	}
	return c.answer(result)
}

// copyRange returns what of the source is to be copied.
func (c *call) copyRange(source *object) (from, length int64, ranged bool, err error) {
	text := c.r.Header.Get("X-Amz-Copy-Source-Range")
	if text == "" {
		if source.length > maxPart {
			err = tooLargeSource()
		}
		return 0, source.length, false, err
	}
	if c.s.options.NoCopy {
		return 0, 0, true, refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented.")
	}
	spec, found := strings.CutPrefix(text, "bytes=")
	first, last, _ := strings.Cut(spec, "-")
	a, errA := strconv.ParseInt(first, 10, 64)
	z, errZ := strconv.ParseInt(last, 10, 64)
	switch {
	case !found || errA != nil || errZ != nil || a < 0 || z < a:
		err = refuse(http.StatusBadRequest, "InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	case z >= source.length:
		err = refuse(http.StatusBadRequest, "InvalidArgument", "Range specified is not valid for source object of size: %d", source.length)
	case source.length <= minPart:
		err = refuse(http.StatusBadRequest, "InvalidRequest", "The specified copy source is not larger than the minimum of %d bytes for a range", minPart)
	case z-a+1 > maxPart:
		err = tooLargeSource()
	}
	return a, z - a + 1, true, err
}

func (c *call) abort(b *bucket) error {
	u, err := c.upload(b)
	if err != nil {
		return err
	}
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	delete(b.uploads, u.id)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// complete joins the parts. Its checks are those of CompleteMultipartUpload, in the order in which AWS names them.
func (c *call) complete(b *bucket) error {
	u, err := c.upload(b)
	if err != nil {
		return err
	}
	var wanted completeRequest
	if err := xml.NewDecoder(io.LimitReader(c.r.Body, 8<<20)).Decode(&wanted); err != nil || len(wanted.Parts) == 0 {
		return malformed()
	}
	parts, err := c.chosen(u, wanted.Parts)
	if err != nil {
		return err
	}
	o, err := c.join(u, parts)
	if err != nil {
		return err
	}
	if err := c.publish(b, o); err != nil {
		return err
	}
	c.s.mutex.Lock()
	delete(b.uploads, u.id)
	c.s.mutex.Unlock()
	return c.answer(completed{Bucket: c.bucket, Key: c.key, ETag: quote(o.etag), ChecksumCRC32: o.checksum, ChecksumType: o.kind})
}

// chosen returns the parts that the client names, if they are there and may be joined.
func (c *call) chosen(u *upload, wanted []completePart) ([]*part, error) {
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	parts := make([]*part, len(wanted))
	for i, w := range wanted {
		if i > 0 && w.PartNumber <= wanted[i-1].PartNumber {
			return nil, refuse(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		p := u.parts[w.PartNumber]
		if p == nil || strings.Trim(w.ETag, `"`) != p.etag || w.ChecksumCRC32 != "" && (!u.checked() || w.ChecksumCRC32 != encode(p.stored)) {
			return nil, refuse(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
		}
		parts[i] = p
	}
	for i, p := range parts[:len(parts)-1] {
		if p.length < minPart {
			return nil, refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		if c.s.options.Equal && (p.length != parts[0].length || i == len(parts)-2 && parts[i+1].length > p.length) {
			return nil, refuse(http.StatusBadRequest, "InvalidPart", "All non-trailing parts must have the same length.")
		}
	}
	return parts, nil
}

// join makes one object of the parts, if size and checksum are what the client says.
func (c *call) join(u *upload, parts []*part) (*object, error) {
	crc, length := combine(parts)
	o := &object{length: length, header: u.header}
	tags := make([]byte, 0, 32*len(parts))
	for _, p := range parts {
		o.content, tags = append(o.content, p.content...), append(tags, p.etag...)
	}
	o.etag = fmt.Sprintf("%s-%d", opaque(length, uint64(crc32.ChecksumIEEE(tags))<<32|uint64(crc)), len(parts))
	if size := c.r.Header.Get("X-Amz-Mp-Object-Size"); size != "" && size != strconv.FormatInt(length, 10) {
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed: %d", length)
	}
	if !u.checked() {
		return o, nil
	}
	o.checksum, o.kind = encode(crc), u.kind
	if u.kind == "COMPOSITE" {
		o.checksum = composite(parts)
	}
	want := c.r.Header.Get("X-Amz-Checksum-Crc32")
	if kind := c.r.Header.Get("X-Amz-Checksum-Type"); want != "" && kind != "" && kind != u.kind {
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", u.kind)
	}
	if want != "" && want != o.checksum {
		return nil, badCRC()
	}
	return o, nil
}

// composite is the checksum of the parts' checksums, and their number.
func composite(parts []*part) string {
	var sums []byte
	for _, p := range parts {
		sums = binary.BigEndian.AppendUint32(sums, p.stored)
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(sums))
	return fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sum), len(parts))
}

func (c *call) listParts(b *bucket) error {
	u, err := c.upload(b)
	if err != nil {
		return err
	}
	after, _ := strconv.Atoi(c.arg("part-number-marker"))
	most := c.most("max-parts")
	result := partsResult{Bucket: c.bucket, Key: c.key, UploadID: u.id, MaxParts: most, ChecksumAlgorithm: u.algorithm, ChecksumType: u.kind}
	c.s.mutex.Lock()
	numbers := make([]int, 0, len(u.parts))
	for n := range u.parts {
		if n > after {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if i == most {
			result.IsTruncated = true
			break
		}
		p := u.parts[n]
		listed := listedPart{PartNumber: n, Size: p.length, ETag: quote(p.etag), LastModified: stamp(p.modified)}
		if u.checked() && !c.s.options.NoPartCRC {
			listed.ChecksumCRC32 = encode(p.stored)
		}
		result.Parts, result.NextPartNumberMarker = append(result.Parts, listed), n
	}
	c.s.mutex.Unlock()
	return c.answer(result)
}

// most is how many entries the client wants, at most a page.
func (c *call) most(name string) int {
	n, err := strconv.Atoi(c.arg(name))
	if err != nil || n < 0 || n > page {
		return page
	}
	return n
}
