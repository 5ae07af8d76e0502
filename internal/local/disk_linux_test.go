package local

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sys/unix"
)

const (
	smallDisk     = 28 << 20
	diskVariable  = "LIFEBOAT_TEST_DISK"
	noSmallDisk   = 77 // exit status: this machine lets nobody mount one
	fillerPattern = "full"
)

// TestFullDisk runs TestOnFullDisk in namespaces of its own, where it may mount a small disk.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), diskVariable+"="+t.TempDir(), raceOptions)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case cmd.ProcessState == nil:
		t.Skipf("this machine allows no namespaces for a small disk: %v", err)
	case cmd.ProcessState.ExitCode() == noSmallDisk:
		t.Skipf("this machine allows no mount of a small disk: %s", out)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: TestOnFullDisk")):
		t.Errorf("%v\n%s", err, out)
	}
}

func mountSmallDisk(folder string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk))
}

// TestOnFullDisk is the part of TestFullDisk that has the small disk: writes are refused at once, a server starts
// nonetheless, and deleting makes everything work again.
func TestOnFullDisk(t *testing.T) {
	folder := os.Getenv(diskVariable)
	if folder == "" {
		t.Skip("runs inside TestFullDisk")
	}
	if err := mountSmallDisk(folder); err != nil {
		fmt.Println(err)
		os.Exit(noSmallDisk)
	}
	s, client := withBucket(t, folder)
	source := bytes.Repeat([]byte("x"), 6<<20)
	put(t, client, "src", string(source))
	id := startUpload(t, client, "up")
	parts := []types.CompletedPart{uploadPart(t, client, "up", id, 1, source), uploadPart(t, client, "up", id, 2, source)}

	// 10 of 28 MiB are left, the object needs 12.
	completion := &s3.CompleteMultipartUploadInput{Key: aws.String("up"), UploadId: id}
	wantFull(t, "complete", complete(t, client, completion, parts...))
	for size := 8 << 20; size >= 512; size /= 2 {
		_ = writeFiller(t, client, size)
	}
	filler := fillPages(t, folder)

	_, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: &bucket, Key: aws.String("up"), UploadId: id, PartNumber: aws.Int32(3), Body: bytes.NewReader(source),
	})
	wantFull(t, "part", err)
	_, err = client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: &bucket, Key: aws.String("up"), UploadId: id, PartNumber: aws.Int32(3), CopySource: aws.String(bucket + "/src"),
	})
	wantFull(t, "part copy", err)
	_, err = client.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: &bucket, Key: aws.String("dst"), CopySource: aws.String(bucket + "/src"),
	})
	wantFull(t, "copy", err)
	wantFull(t, "put", writeFiller(t, client, 1<<20))

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = attach(t, folder)
	client = clientOf(s)
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("src")}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := deleteFillers(t, client); err != nil {
		t.Fatal(err)
	}
	if err := complete(t, client, completion, parts...); err != nil {
		t.Errorf("complete after making room: %v", err)
	}
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s succeeded on a full disk", what)
	}
	wantCode(t, err, "InsufficientStorage")
	if got := statusOf(err); got != 507 {
		t.Errorf("%s: status %d", what, got)
	}
}

func writeFiller(t *testing.T, client *s3.Client, size int) error {
	t.Helper()
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: aws.String(fmt.Sprintf("%s%d", fillerPattern, size)), Body: bytes.NewReader(make([]byte, size)),
	})
	return err
}

func deleteFillers(t *testing.T, client *s3.Client) error {
	t.Helper()
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String(fillerPattern)})
	if err != nil {
		return err
	}
	for _, o := range list.Contents {
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: o.Key}); err != nil {
			return err
		}
	}
	return nil
}

// fillPages takes what is left to the last page.
func fillPages(t *testing.T, folder string) string {
	t.Helper()
	f, err := os.CreateTemp(folder, "filler")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	for err == nil {
		_, err = f.Write(page)
	}
	return f.Name()
}
