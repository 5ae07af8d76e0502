package cli

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// cuts are the ways in which a request goes wrong.
var cuts = []standin.Fault{
	{Cut: standin.CutAfter}, {Cut: standin.CutBefore}, {Cut: standin.CutInside, Rows: 9}, {Cut: standin.CutTorn}, {Status: 502}, {Cut: standin.CutInside, Rows: 31},
}

// undisturbed is a sample's restore that nothing disturbs: how many requests it makes, and what it makes.
func (p *place) undisturbed() (requests int, tables map[string][]string, files map[string]string) {
	p.Helper()
	g := p.goal("whole", empty("nora"))
	p.restoreOf(0, "latest", "--to", "whole")
	return len(g.asked), g.rows(p.T).tables("nobody"), sums(p.T, g.folder)
}

// isWhole fails unless a Zipline holds what the undisturbed one does.
func (g *goal) isWhole(t *testing.T, why string, tables map[string][]string, files map[string]string) {
	t.Helper()
	got, want := g.rows(t).tables("nobody"), map[string][]string{}
	maps.Copy(want, tables)
	want["users"], got["users"] = without(want["users"], "nora"), without(got["users"], "nora")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: rows (-want +got):\n%s", why, diff)
	}
	if diff := cmp.Diff(files, sums(t, g.folder)); diff != "" {
		t.Errorf("%s: files (-want +got):\n%s", why, diff)
	}
}

// everything makes the sweep of TestReplayCut break each request in each way: that takes minutes.
const everything = "LIFEBOAT_TEST_EVERYTHING"

// TestReplayCut breaks each request of a restore, one after the other; the same command then completes it. Each loses
// its answer, and is broken in one more way; with -short, a few are broken in one way.
func TestReplayCut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	requests, tables, files := p.undisturbed()
	if requests < 15 {
		t.Fatalf("%d requests", requests)
	}
	for n := 1; n <= requests; n++ {
		for kind, fault := range cuts {
			few := testing.Short() || raceEnabled
			switch {
			case os.Getenv(everything) != "", kind == n%len(cuts) && (!few || n%3 == 0), kind == 0 && !few:
			default:
				continue
			}
			why := fmt.Sprintf("request %d of %d, %+v", n, requests, fault)
			name := fmt.Sprintf("t%d-%d", n, kind)
			g := p.goal(name, empty("nora"))
			g.faulty(standin.FailAt(n, fault))
			first := p.inside("restore", "latest", "--to", name, "-q")
			if first.code != 0 && first.code != 15 && first.code != 16 { // 16: an export that ends in the middle
				t.Errorf("%s: exit code %d\n%s", why, first.code, first.err)
			}
			first.isPlain()
			again := p.inside("restore", "latest", "--to", name, "--json", "-q")
			if again.code != 0 {
				t.Errorf("%s: the second run: exit code %d\n%s%s", why, again.code, again.out, again.err)
				continue
			}
			g.isWhole(t, why, tables, files)
		}
	}
}

// TestReplayKilled kills the process of a restore at requests that are spread over its whole length, with SIGKILL; the
// same command then completes it.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	heavy(t)
	p := newPlace(t)
	p.asPeopleGetIt()
	p.backed()
	requests, tables, files := p.undisturbed()
	const samples = 15
	for i := range samples {
		n := 1 + i*(requests-1)/(samples-1)
		name := fmt.Sprintf("k%d-%d", i, n)
		g := p.goal(name, empty("nora"))
		victim := p.victim("restore", "latest", "--to", name, "-q")
		g.faulty(func(request int, _ *http.Request) standin.Fault {
			if request == n {
				victim.signal(os.Kill)
				return standin.Fault{Cut: standin.CutAfter}
			}
			return standin.Fault{}
		})
		victim.killed(t)
		g.faulty(nil)
		p.run("restore", "latest", "--to", name, "-q").exits(0)
		g.isWhole(t, fmt.Sprintf("killed at request %d of %d", n, requests), tables, files)
	}
}
