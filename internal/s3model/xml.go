package s3model

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"time"
)

// answer writes the result as XML.
func (c *call) answer(result any) error { return c.write(http.StatusOK, result) }

func (c *call) write(status int, result any) error {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(result); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	c.begun = true
	c.w.WriteHeader(status)
	_, err := c.w.Write(b.Bytes())
	return err
}

// refuse writes the error. The answer to HEAD has no body. What the client still sends is read, or it might not see
// the answer.
func (c *call) refuse(e *refusal) {
	_, _ = io.Copy(io.Discard, c.r.Body)
	for name := range c.w.Header() {
		c.w.Header().Del(name)
	}
	if c.r.Method == http.MethodHead {
		c.w.WriteHeader(e.status)
		return
	}
	_ = c.write(e.status, failed{Code: e.code, Message: e.message, Resource: c.r.URL.Path})
}

func malformed() error {
	return refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

type failed struct {
	XMLName  xml.Name `xml:"Error"`
	Code     string
	Message  string
	Resource string
}

type locationConstraint struct {
	XMLName xml.Name `xml:"LocationConstraint"`
}

type deleteRequest struct {
	Quiet   bool
	Objects []deleted `xml:"Object"`
}

type deleted struct{ Key string }

type deleteResult struct {
	XMLName xml.Name `xml:"DeleteResult"`
	Deleted []deleted
}

type copyResult struct {
	XMLName       xml.Name
	ETag          string
	LastModified  string
	ChecksumCRC32 string `xml:",omitempty"`
}

type initiated struct {
	XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket   string
	Key      string
	UploadID string `xml:"UploadId"`
}

type completeRequest struct {
	Parts []completePart `xml:"Part"`
}

type completePart struct {
	PartNumber    int
	ETag          string
	ChecksumCRC32 string
}

type completed struct {
	XMLName       xml.Name `xml:"CompleteMultipartUploadResult"`
	Bucket        string
	Key           string
	ETag          string
	ChecksumCRC32 string `xml:",omitempty"`
	ChecksumType  string `xml:",omitempty"`
}

type listedPart struct {
	PartNumber    int
	Size          int64
	ETag          string
	LastModified  string
	ChecksumCRC32 string `xml:",omitempty"`
}

type partsResult struct {
	XMLName              xml.Name `xml:"ListPartsResult"`
	Bucket               string
	Key                  string
	UploadID             string `xml:"UploadId"`
	MaxParts             int
	IsTruncated          bool
	NextPartNumberMarker int
	ChecksumAlgorithm    string       `xml:",omitempty"`
	ChecksumType         string       `xml:",omitempty"`
	Parts                []listedPart `xml:"Part"`
}

type listResult struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	MaxKeys               int
	KeyCount              int
	EncodingType          string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	ContinuationToken     string `xml:",omitempty"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
	CommonPrefixes        []commonPrefix
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
}

type commonPrefix struct{ Prefix string }

type listedUpload struct {
	Key       string
	UploadID  string `xml:"UploadId"`
	Initiated string
}

type uploadsResult struct {
	XMLName            xml.Name `xml:"ListMultipartUploadsResult"`
	Bucket             string
	Prefix             string
	KeyMarker          string
	UploadIDMarker     string `xml:"UploadIdMarker"`
	NextKeyMarker      string
	NextUploadIDMarker string `xml:"NextUploadIdMarker"`
	MaxUploads         int
	IsTruncated        bool
	Uploads            []listedUpload `xml:"Upload"`
}
