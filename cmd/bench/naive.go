package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// The naive peers are what one writes first: objects are read one after the other into a ZIP that is uploaded in parts
// of 8 MiB; an archive is downloaded to disk, and its entries are uploaded one after the other.

const naivePart = 8 << 20

type naiveBackup struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"` // of the archive
}

type naiveRequest struct {
	Archive string `json:"archive"` // key in the bucket of the vault
	Target  string `json:"target"`  // bucket
	Folder  string `json:"folder"`  // on disk; who asks removes it
}

func (w *worker) naiveBackup(ctx context.Context, key string) (naiveBackup, error) {
	from, to := io.Pipe()
	var made naiveBackup
	go func() {
		var err error
		made.Objects, err = w.zipAll(ctx, to)
		_ = to.CloseWithError(err)
	}()
	size, err := w.upload(ctx, key, from)
	made.Bytes = size
	return made, errors.Join(err, from.Close())
}

// listed yields the files of the source.
func (w *worker) listed(ctx context.Context) iter.Seq2[types.Object, error] {
	return func(yield func(types.Object, error) bool) {
		for pages := s3.NewListObjectsV2Paginator(w.client, &s3.ListObjectsV2Input{Bucket: &w.Data}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(types.Object{}, err)
				return
			}
			for _, o := range page.Contents {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

func (w *worker) zipAll(ctx context.Context, to io.Writer) (objects int, err error) {
	archive := zip.NewWriter(to)
	for o, err := range w.listed(ctx) {
		if err != nil {
			return objects, err
		}
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: *o.Key, Method: zip.Store, Modified: aws.ToTime(o.LastModified)})
		if err != nil {
			return objects, err
		}
		got, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.Data, Key: o.Key})
		if err != nil {
			return objects, err
		}
		_, err = io.Copy(entry, got.Body)
		if err := errors.Join(err, got.Body.Close()); err != nil {
			return objects, err
		}
		objects++
	}
	return objects, archive.Close()
}

// upload writes what it reads as one object, part by part; the next part is read while one is sent.
func (w *worker) upload(ctx context.Context, key string, from io.Reader) (size int64, err error) {
	u, err := w.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.Vault, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		return 0, err
	}
	bodies, failed := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(bodies)
		for {
			body := make([]byte, naivePart)
			n, err := io.ReadFull(from, body)
			if n > 0 {
				bodies <- body[:n]
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				failed <- nil
				return
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	var parts []types.CompletedPart
	for body := range bodies {
		if err != nil {
			continue // so that the reader ends
		}
		size += int64(len(body))
		number := int32(len(parts) + 1)
		var done *s3.UploadPartOutput
		done, err = w.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &w.Vault, Key: &key, UploadId: u.UploadId, PartNumber: &number, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		})
		if err == nil {
			parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: done.ETag, ChecksumCRC32: done.ChecksumCRC32})
		}
	}
	if err := errors.Join(err, <-failed); err != nil {
		return size, err
	}
	_, err = w.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &w.Vault, Key: &key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return size, err
}

func (w *worker) naiveRestore(ctx context.Context, r naiveRequest) error {
	root, err := os.OpenRoot(r.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := w.download(ctx, r.Archive, root); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	file, err := root.Open("archive.zip")
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(file, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if err := w.bringBack(ctx, entry, root, r.Target); err != nil {
			return fmt.Errorf("bring %s back: %w", entry.Name, err)
		}
	}
	return nil
}

func (w *worker) download(ctx context.Context, key string, root *os.Root) error {
	got, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.Vault, Key: &key})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	file, err := root.Create("archive.zip")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, got.Body)
	return errors.Join(err, file.Close())
}

// bringBack unpacks one entry to disk and uploads it.
func (w *worker) bringBack(ctx context.Context, entry *zip.File, root *os.Root, target string) error {
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := root.Create("entry")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = w.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &target, Key: &entry.Name, Body: file})
	return err
}
