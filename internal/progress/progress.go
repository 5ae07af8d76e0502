// Package progress tells a person what a run does meanwhile.
//
// A run goes through phases; each counts items and bytes. On a terminal a phase is one line that is redrawn in
// place and stays when the phase ends; elsewhere it is a plain line now and then; for robots it is JSON Lines; or
// nothing. The time left is a range between the fastest and the slowest recent speed, and isn't shown before there
// is one. The package stores nothing and knows nothing of backups; it also has the formats in which every other
// part shows sizes, counts and durations to people.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"lifeboat/internal/plain"

	"golang.org/x/term"
)

// Mode is how progress is shown. No mode uses colours.
type Mode int

// The modes.
const (
	Quiet Mode = iota // nothing
	Plain             // a line every 5 seconds and one at each phase's end
	Live              // one line redrawn at most 10 times a second, on a terminal
	JSON              // JSON Lines with the message_type "progress", every second and at each phase's end
)

// intervals is how much time lies between two lines.
var intervals = map[Mode]time.Duration{Plain: 5 * time.Second, Live: 100 * time.Millisecond, JSON: time.Second}

// ModeFor returns the mode that suits out where the person asked for JSON, for quiet, or for neither.
func ModeFor(out *os.File, json, quiet bool) Mode {
	switch {
	case quiet:
		return Quiet
	case json:
		return JSON
	case os.Getenv("TERM") != "dumb" && term.IsTerminal(int(out.Fd())):
		return Live
	}
	return Plain
}

// Options are what a Reporter needs. The zero value is quiet.
type Options struct {
	Mode  Mode
	Width func() int       // columns of the terminal, asked for each live line; nil: those of Out, or else 80
	Now   func() time.Time // nil: time.Now
}

// Reporter shows the progress of one run. It is safe for concurrent use; a nil Reporter shows nothing. While a
// phase is open, a goroutine of its own redraws; Done ends it.
type Reporter struct {
	out  io.Writer
	mode Mode
	size func() int
	now  func() time.Time

	mu    sync.Mutex
	phase *phase // nil between phases
	drawn bool   // the live line stands on the terminal, without a line break
}

// phase is the open one; Reporter's mutex guards it.
type phase struct {
	state
	began     time.Time
	itemMeter meter
	byteMeter meter
	stop      chan struct{}
}

// New returns a reporter that writes to out. Errors of writing are ignored: a run doesn't fail for its progress.
func New(out io.Writer, options Options) *Reporter {
	r := &Reporter{out: out, mode: options.Mode, size: options.Width, now: options.Now}
	if r.size == nil {
		r.size = widthOf(out)
	}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

func widthOf(out io.Writer) func() int {
	return func() int {
		if file, ok := out.(*os.File); ok {
			if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
				return width
			}
		}
		return 80
	}
}

func (r *Reporter) silent() bool { return r == nil || r.mode == Quiet }

// Phase begins a phase and ends the one before it; one of the same name has failed, and is tried again. A total of 0
// means that nobody knows it.
func (r *Reporter) Phase(name string, totalItems, totalBytes int64) {
	if r.silent() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name = plain.Text(name)
	r.end(r.phase != nil && r.phase.phase == name)
	p := &phase{
		state: state{phase: name, totalItems: totalItems, totalBytes: totalBytes},
		began: r.now(),
		stop:  make(chan struct{}),
	}
	p.itemMeter.note(p.began, 0)
	p.byteMeter.note(p.began, 0)
	r.phase = p
	go r.redraw(p)
}

// redraw shows p at every interval until it ends.
func (r *Reporter) redraw(p *phase) {
	ticker := time.NewTicker(intervals[r.mode])
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		if r.phase == p {
			r.draw()
		}
		r.mu.Unlock()
	}
}

// Add counts what was done since the last Add. Between phases it does nothing.
func (r *Reporter) Add(items, bytes int64) {
	if r.silent() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.phase
	if p == nil {
		return
	}
	p.items += items
	p.bytes += bytes
	p.measure(r.now())
}

// Note shows one line of text, escaped, beside the progress.
func (r *Reporter) Note(text string) {
	if r.silent() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == JSON {
		m := message{Type: "progress", Note: text}
		if r.phase != nil {
			m.Phase = r.phase.phase
		}
		r.write(string(m.encode()))
		return
	}
	r.write(r.wipe() + plain.Text(text) + "\n")
	if r.mode == Live && r.phase != nil {
		r.draw()
	}
}

// Done ends the phase, if one is open. It may be called again, so it can be deferred.
func (r *Reporter) Done() {
	if r.silent() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(false)
}

// Fail ends the phase, if one is open, as one that did not get through.
func (r *Reporter) Fail() {
	if r.silent() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(true)
}

// end shows the last line of the open phase.
func (r *Reporter) end(failed bool) {
	p := r.phase
	if p == nil {
		return
	}
	r.phase = nil
	close(p.stop)
	s := p.state
	s.ended, s.failed, s.elapsed = true, failed, r.now().Sub(p.began)
	if s.elapsed > 0 {
		s.rate = float64(s.bytes) / s.elapsed.Seconds()
	}
	if r.mode == JSON {
		r.write(string(s.message().encode()))
		return
	}
	wipe := r.wipe()
	r.write(wipe + s.line(0) + "\n")
}

// draw shows the open phase as it is now.
func (r *Reporter) draw() {
	s := r.phase.snapshot(r.now())
	switch r.mode {
	case JSON:
		r.write(string(s.message().encode()))
	case Plain:
		r.write(s.line(0) + "\n")
	case Live:
		wipe := r.wipe()
		r.drawn = true
		r.write(wipe + s.line(max(r.size()-1, 1))) // in the last column some terminals wrap
	}
}

// wipe returns what takes the live line away.
func (r *Reporter) wipe() string {
	if !r.drawn {
		return ""
	}
	r.drawn = false
	return "\r\x1b[K"
}

func (r *Reporter) write(text string) { _, _ = io.WriteString(r.out, text) }

func (p *phase) measure(now time.Time) {
	p.itemMeter.note(now, p.items)
	p.byteMeter.note(now, p.bytes)
}

// snapshot returns the state with its rates as of now.
func (p *phase) snapshot(now time.Time) state {
	p.measure(now)
	s := p.state
	s.elapsed = now.Sub(p.began)
	s.rate, _ = p.byteMeter.over(windows[1], sample{now, s.bytes})
	if s.totalBytes > 0 {
		s.left = p.byteMeter.left(sample{now, s.bytes}, s.totalBytes-s.bytes)
	} else {
		s.left = p.itemMeter.left(sample{now, s.items}, s.totalItems-s.items)
	}
	return s
}
