package s3model

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// listObjects answers ListObjectsV2. A continuation token is the last key or common prefix that was listed.
func (c *call) listObjects(b *bucket) error {
	prefix, delimiter, most := c.arg("prefix"), c.arg("delimiter"), c.most("max-keys")
	encoding := c.arg("encoding-type")
	spell := func(key string) string {
		if encoding == "url" {
			return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
		}
		return key
	}
	result := listResult{
		Name: c.bucket, Prefix: spell(prefix), Delimiter: spell(delimiter), MaxKeys: most, EncodingType: encoding,
		StartAfter: spell(c.arg("start-after")), ContinuationToken: c.arg("continuation-token"),
	}
	after := c.arg("start-after")
	if result.ContinuationToken != "" {
		token, err := base64.StdEncoding.DecodeString(result.ContinuationToken)
		if err != nil {
			return refuse(400, "InvalidArgument", "The continuation token provided is incorrect")
		}
		after = string(token)
	}
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	keys := b.keys()
	for i := sort.SearchStrings(keys, max(prefix, after)); i < len(keys) && strings.HasPrefix(keys[i], prefix); i++ {
		key := keys[i]
		common := ""
		if n := strings.Index(key[len(prefix):], delimiter); delimiter != "" && n >= 0 {
			common = key[:len(prefix)+n+len(delimiter)]
		}
		if key <= after || common != "" && common <= after {
			continue
		}
		if result.KeyCount == most {
			result.IsTruncated = most > 0
			break
		}
		result.KeyCount++
		if after = key; common != "" {
			result.CommonPrefixes, after = append(result.CommonPrefixes, commonPrefix{spell(common)}), common
			continue
		}
		o := b.objects[key]
		result.Contents = append(result.Contents, listed{Key: spell(key), Size: o.length, ETag: quote(o.etag), LastModified: stamp(o.modified), StorageClass: "STANDARD"})
	}
	if result.IsTruncated {
		result.NextContinuationToken = base64.StdEncoding.EncodeToString([]byte(after))
	}
	return c.answer(result)
}

// listUploads answers ListMultipartUploads, in the order of keys, then of ids.
func (c *call) listUploads(b *bucket) error {
	prefix, most := c.arg("prefix"), c.most("max-uploads")
	afterKey, afterID := c.arg("key-marker"), c.arg("upload-id-marker")
	result := uploadsResult{Bucket: c.bucket, Prefix: prefix, MaxUploads: most, KeyMarker: afterKey, UploadIDMarker: afterID}
	c.s.mutex.Lock()
	defer c.s.mutex.Unlock()
	uploads := slices.SortedFunc(maps.Values(b.uploads), func(a, b *upload) int {
		if n := strings.Compare(a.key, b.key); n != 0 {
			return n
		}
		return strings.Compare(a.id, b.id)
	})
	for _, u := range uploads {
		if !strings.HasPrefix(u.key, prefix) || u.key < afterKey || u.key == afterKey && (afterID == "" || u.id <= afterID) {
			continue
		}
		if len(result.Uploads) == most {
			result.IsTruncated = true
			break
		}
		result.Uploads = append(result.Uploads, listedUpload{Key: u.key, UploadID: u.id, Initiated: stamp(u.begun)})
		result.NextKeyMarker, result.NextUploadIDMarker = u.key, u.id
	}
	return c.answer(result)
}
