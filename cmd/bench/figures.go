package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"lifeboat/internal/s3model"
)

// bench collects figures and goals.
type bench struct {
	out   io.Writer
	npm   string // folder of the npm peer
	goals []goal
	peak  int64  // bytes of the largest process so far
	of    string // the run that it belonged to

	naive map[string]time.Duration // walls of the naive peers on the modelled store
}

// goal is one line of the table.
type goal struct {
	name    string
	sign    string // ≤ ≥ >
	limit   float64
	value   float64
	unit    string
	missing string // why there is no value
}

func (g goal) reached() bool {
	switch g.sign {
	case "≤":
		return g.value <= g.limit
	case "≥":
		return g.value >= g.limit
	}
	return g.value > g.limit
}

// figure prints one figure.
func (b *bench) figure(name string, value float64, unit string) {
	fmt.Fprintf(b.out, "bench: %s %s %s\n", name, digits(value), unit)
}

// say prints a remark.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, "       "+format+"\n", args...) }

// goal prints a figure that has a goal; title says what it is in the table.
func (b *bench) goal(name, title, sign string, limit, value float64, unit string) {
	b.figure(name, value, unit)
	b.goals = append(b.goals, goal{name: title, sign: sign, limit: limit, value: value, unit: unit})
}

// missed notes a goal that was not measured.
func (b *bench) missed(title, sign string, limit float64, unit, why string) {
	b.say("%s: %s", title, why)
	b.goals = append(b.goals, goal{name: title, sign: sign, limit: limit, unit: unit, missing: why})
}

// run prints what a run of ours took. Its memory counts for the goal of all runs.
func (b *bench) run(name string, m measured) {
	b.peer(name, m)
	if m.peak > b.peak {
		b.peak, b.of = m.peak, name
	}
}

// peer prints what a run of another program took.
func (b *bench) peer(name string, m measured) {
	b.figure(name+".wall", m.wall.Seconds(), "s")
	b.figure(name+".cpu", m.cpu.Seconds(), "s")
	b.figure(name+".peak", float64(m.peak)/float64(mib), "MiB")
	if m.Counters == (s3model.Counters{}) { // of a program that does not count
		return
	}
	b.figure(name+".read", float64(m.Downloaded)/1e6, "MB")
	b.figure(name+".written", float64(m.Uploaded)/1e6, "MB")
	b.figure(name+".put-class", float64(m.PutClass()), "requests")
	b.figure(name+".get-class", float64(m.Get), "requests")
}

// digits writes a value with three or more significant digits.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0 || a >= 100 || a == math.Trunc(a):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// share returns the part of a run's reads in the bytes of its source, in percent.
func share(m measured, s set) float64 { return 100 * float64(m.Downloaded) / float64(s.bytes()) }

// table prints the goals and the assumptions.
func (b *bench) table() {
	if b.peak > 0 {
		b.goal("peak", "peak memory of any process (here: of "+b.of+")", "≤", 256, float64(b.peak)/float64(mib), "MiB")
	}
	if len(b.goals) == 0 {
		return
	}
	fmt.Fprintln(b.out)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GOAL\tLIMIT\tMEASURED\t")
	reached, measuredGoals := 0, 0
	for _, g := range b.goals {
		limit := fmt.Sprintf("%s %s %s", g.sign, digits(g.limit), g.unit)
		if g.missing != "" {
			fmt.Fprintf(w, "%s\t%s\t–\tnot measured: %s\n", g.name, limit, g.missing)
			continue
		}
		verdict := "NOT reached"
		if g.reached() {
			verdict = "reached"
			reached++
		}
		measuredGoals++
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\n", g.name, limit, digits(g.value), g.unit, verdict)
	}
	_ = w.Flush()
	fmt.Fprintf(b.out, "\n%d of %d goals reached, %d not measured\n", reached, measuredGoals, len(b.goals)-measuredGoals)
	fmt.Fprint(b.out, `
Assumptions of the modelled store: 40 ms for PUT-class requests and DELETE, 20 ms for GET, HEAD and LIST (LIST has the
price of a PUT), 150 MB/s for one copy request, a link of 75 MB/s each way for each worker; its copies are references.
Read and written are bytes of contents at the client, one way each. CPU is user and system time of all workers, from
start to end; peak is the resident memory of the largest. Workers are running when the clock starts. The engine that
hands out the steps and the store itself run beside them and count for nobody. Where more than two workers share a
processor, the modelled store is slowed down until each has half a processor, and walls are divided by the same factor.
Nothing here ran on AWS.
`)
}

// machine says where the benchmarks run, and what else runs there.
func (b *bench) machine() {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("not known")
	}
	b.say("%s, %s/%s, %d processors, load %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.TrimSpace(string(load)))
}

// version returns the first line of what a program says of itself; "" where there is no such program.
func version(name string, args ...string) string {
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Copyright") {
			return line
		}
	}
	return ""
}
