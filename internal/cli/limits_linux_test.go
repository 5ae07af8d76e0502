package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	diskVariable = "LIFEBOAT_TEST_DISK"
	noDisk       = 77 // exit status: this machine lets nobody mount one
	smallDisk    = 34 << 20
)

// TestFullDisk runs TestOnFullDisk where it may mount a small disk.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), diskVariable+"=1", raceOptions)
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
	case cmd.ProcessState.ExitCode() == noDisk:
		t.Skipf("this machine allows no mount of a small disk: %s", out)
	case err != nil || !bytes.Contains(out, []byte("--- PASS: TestOnFullDisk")):
		t.Errorf("%v\n%s", err, out)
	}
}

// mount puts a small disk at a folder of the place.
func (p *place) mount(name string) {
	p.Helper()
	if err := os.MkdirAll(p.path(name), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := unix.Mount("tmpfs", p.path(name), "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		fmt.Println(err)
		os.Exit(noDisk)
	}
	p.Cleanup(func() { _ = unix.Unmount(p.path(name), unix.MNT_DETACH) })
}

// TestOnFullDisk is the part of TestFullDisk with the small disks: a vault with room for one backup of 10 MB, a
// restore and a download without room.
func TestOnFullDisk(t *testing.T) {
	if os.Getenv(diskVariable) == "" {
		t.Skip("runs inside TestFullDisk")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Println(err)
		os.Exit(noDisk)
	}
	p := newPlace(t)
	p.mount("vault")
	p.mount("small")
	earlier := p.backup(0)
	if _, err := p.instance.ChangeTwo(p.path("uploads")); err != nil {
		t.Fatal(err)
	}
	p.run("backup", "photos", "-q").complains(14, "space")
	p.good(earlier.ID)
	if count := p.statuses(); count["completed"] != 1 || count["in progress"] > 0 {
		t.Errorf("backups: %v", count)
	}

	filler := make([]byte, smallDisk-5<<20)
	if err := os.WriteFile(p.path("small/filler"), filler, 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("restore", earlier.ID, "-q", "--to", "dir:small/restored").complains(14, "free some space, then run the same command again")
	p.run("download", earlier.ID, "-q", "-o", "small/photos.zip").complains(14, "small/photos.zip")
	p.remove("small/filler")
	p.run("restore", earlier.ID, "-q", "--to", "dir:small/restored").exits(0)
	p.run("download", earlier.ID, "-q", "-o", "photos.zip").exits(0)
	p.run("delete", earlier.ID, "-y", "--now").exits(0)
	p.good(p.backup(0).ID)
}

// TestUnreadable: a folder that may not be read stops the backup, one file that may not be read does not. Root may
// read everything, so that the program runs in a user namespace as somebody else.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	earlier := p.backup(0)
	p.attr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getegid(), Size: 1}},
	}
	if err := p.command("--version").Run(); err != nil {
		t.Skipf("this machine allows no user namespaces: %v", err)
	}
	chmod := func(name string, mode os.FileMode) {
		if err := os.Chmod(p.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod("uploads", 0)
	p.run("backup", "photos", "-q").complains(12, "may not be read")
	chmod("uploads", 0o755)
	chmod("uploads/README.md", 0)
	made := p.backup(3)
	if len(made.Problems) != 1 || made.Problems[0].Kind != "unreadable" {
		t.Errorf("problems: %+v", made.Problems)
	}
	chmod("uploads/README.md", 0o644)
	p.make("closed")
	chmod("closed", 0o500)
	p.run("restore", earlier.ID, "-q", "--to", "dir:closed/restored").complains(12, "closed")
	p.run("download", earlier.ID, "-q", "-o", "closed/photos.zip").complains(12, "closed/photos.zip")
	p.run("-c", "closed/lifeboat.yaml", "init").complains(12, "closed/lifeboat.yaml")
	chmod("vault", 0)
	p.run("list").complains(12, "vault")
	chmod("vault", 0o700)
	p.good(earlier.ID)
}

// TestMemory: neither a large export nor a large object makes the process grow with it. It runs the program as people
// get it, because the race detector's own memory would drown the program's.
func TestMemory(t *testing.T) {
	t.Parallel()
	heavy(t)
	const objectBytes, most = 300 << 20, 300 << 20
	exportBytes := 150 << 20
	if raceEnabled {
		exportBytes = 30 << 20 // the stand-in is slow then
	}
	sample := exported(t, map[string]int64{"big.bin": objectBytes})
	before, after, ok := bytes.Cut(sample, []byte(`"metrics":[`))
	if !ok {
		t.Fatal("the export has no metrics")
	}
	metric := []byte(`{"id":"cmmetric%010d","createdAt":"2026-03-02T09:00:00.000Z","data":{"users":3,"files":1,"fileViews":0,"urls":2,"urlViews":12,"storage":0,"filesUsers":[],"urlsUsers":[],"types":[]}},`)
	p := bare(t, streaming(before, after, string(metric), exportBytes))
	p.asPeopleGetIt()
	if raceEnabled && p.binary == os.Args[0] {
		t.Skip("no go command to build the program with: the race detector's own memory would drown it")
	}
	p.make("uploads")
	file, err := os.Create(p.path("uploads/big.bin"))
	if err == nil {
		err = file.Truncate(objectBytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	for _, args := range [][]string{{"backup", "photos", "-q"}, {"verify", "latest", "-q"}} {
		peak := p.peak(args...)
		t.Logf("%s took %d MB at most", args[0], peak>>20)
		if peak > most || peak == 0 {
			t.Errorf("%s took %d MB", args[0], peak>>20)
		}
	}
}

// peak runs a command that is to succeed and returns the most memory that its process had. The kernel's own account,
// rusage, starts with what the test had when it forked.
func (p *place) peak(args ...string) int64 {
	p.Helper()
	cmd := p.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var peak int64
	for {
		select {
		case err := <-ended:
			if err != nil {
				p.Fatalf("lifeboat %v: %v\n%s", args, err, errs.String())
			}
			return peak
		case <-time.After(20 * time.Millisecond):
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
		var kilobytes int64
		if _, err := fmt.Sscan(string(rest), &kilobytes); err == nil {
			peak = max(peak, kilobytes<<10)
		}
	}
}
