package s3model

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"lifeboat/internal/zipfmt"
)

const chunk = 128 << 10 // bytes that move between two looks at the link

var identity = maphash.MakeSeed()

// blob is what one request wrote, or what a copy refers to.
type blob struct {
	content
	length int64
	crc    uint32
	sent   bool // the client sent the CRC-32
	etag   string
}

// blobOf describes content that is there.
func blobOf(c content) (blob, error) {
	crc, err := c.crc()
	b := blob{content: c, length: c.size(), crc: crc}
	b.etag = opaque(b.length, uint64(crc))
	return b, err
}

// opaque derives an ETag from what identifies content.
func opaque(length int64, sum uint64) string {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(length)), sum)
	digest := md5.Sum(b)
	return hex.EncodeToString(digest[:])
}

// receive stores the body of the request and compares it with the checksums that came with it.
func (c *call) receive() (blob, error) {
	length := c.r.ContentLength
	body := io.Reader(c.r.Body)
	trailer := http.Header{}
	if strings.HasPrefix(c.r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		decoded, err := strconv.ParseInt(c.r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil {
			return blob{}, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
		length, body = decoded, &chunked{reader: bufio.NewReaderSize(c.r.Body, chunk), trailer: trailer}
	}
	if length < 0 {
		return blob{}, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if length > maxPart {
		return blob{}, refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	b, sum, err := c.store(body, length)
	if err != nil {
		return blob{}, err
	}
	if want := c.r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum) {
		return blob{}, refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	want := c.r.Header.Get("X-Amz-Checksum-Crc32")
	if want == "" {
		want = trailer.Get("X-Amz-Checksum-Crc32")
	}
	if b.sent = want != ""; b.sent && want != encode(b.crc) {
		return blob{}, badCRC()
	}
	return b, nil
}

func badCRC() error {
	return refuse(http.StatusBadRequest, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
}

func encode(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// store reads length bytes at the pace of the worker's link. The MD5 is taken only where the client sent one.
func (c *call) store(body io.Reader, length int64) (blob, []byte, error) {
	held, sum, tag, digest := make([]byte, length), uint32(0), maphash.Hash{}, md5.New()
	stored := &extent{ReaderAt: bytes.NewReader(held)}
	tag.SetSeed(identity)
	for at := int64(0); at < length; {
		piece := held[at : at+min(chunk, length-at)] // a mark is a multiple of chunk
		if _, err := io.ReadFull(body, piece); err != nil {
			return blob{}, nil, incomplete(err)
		}
		if err := c.wait(c.worker.up.take(int64(len(piece))*c.s.factor(), c.worker.rate)); err != nil {
			return blob{}, nil, err
		}
		c.worker.add(Counters{Uploaded: int64(len(piece))})
		sum = crc32.Update(sum, crc32.IEEETable, piece)
		_, _ = tag.Write(piece)
		if at += int64(len(piece)); at%mark == 0 {
			stored.marks = append(stored.marks, sum)
		}
	}
	if c.r.Header.Get("Content-Md5") != "" {
		_, _ = digest.Write(held)
	}
	if _, err := io.Copy(io.Discard, body); err != nil { // the trailer
		return blob{}, nil, incomplete(err)
	}
	return blob{content: content{{stored, 0, length}}, length: length, crc: sum, etag: opaque(length, tag.Sum64())}, digest.Sum(nil), nil
}

func incomplete(err error) error {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused
	}
	return refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly: %v", err)
}

// send writes the bytes [from, from+length) of the content at the pace of the worker's link.
func (c *call) send(content content, from, length int64) error {
	c.begun = true
	reader, buffer := content.slice(from, length).reader(), make([]byte, min(length, chunk))
	for length > 0 {
		piece := buffer[:min(int64(len(buffer)), length)]
		if _, err := io.ReadFull(reader, piece); err != nil {
			return err
		}
		if err := c.wait(c.worker.down.take(int64(len(piece))*c.s.factor(), c.worker.rate)); err != nil {
			return err
		}
		if _, err := c.w.Write(piece); err != nil {
			return err
		}
		c.worker.add(Counters{Downloaded: int64(len(piece))})
		length -= int64(len(piece))
	}
	return nil
}

// chunked reads the aws-chunked encoding: `<hex size>[;extension]\r\n<bytes>\r\n` until a chunk of size 0, then
// trailing headers (S3 API reference, "Signature calculations: multiple chunks"). Signatures are skipped.
type chunked struct {
	reader  *bufio.Reader
	left    int64
	begun   bool
	done    bool
	trailer http.Header
}

func (c *chunked) Read(p []byte) (int, error) {
	if c.left == 0 && !c.done {
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	if c.done {
		return 0, io.EOF
	}
	n, err := c.reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *chunked) open() error {
	lines := textproto.NewReader(c.reader)
	if c.begun {
		if _, err := lines.ReadLine(); err != nil { // the end of the chunk before
			return err
		}
	}
	c.begun = true
	line, err := lines.ReadLine()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	if c.left, err = strconv.ParseInt(size, 16, 64); err != nil || c.left < 0 {
		return fmt.Errorf("the chunk %q has no size", line)
	}
	if c.left > 0 {
		return nil
	}
	c.done = true
	for {
		line, err := lines.ReadLine()
		if line == "" || err != nil {
			return nil // a missing last line end harms nobody
		}
		name, value, _ := strings.Cut(line, ":")
		c.trailer.Set(name, strings.TrimSpace(value))
	}
}

// combine returns the CRC-32 and the length of parts one after the other.
func combine(parts []*part) (crc uint32, length int64) {
	for _, p := range parts {
		crc = zipfmt.CombineCRC(crc, p.stored, p.length)
		length += p.length
	}
	return crc, length
}
