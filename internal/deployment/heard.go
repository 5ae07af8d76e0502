package deployment

import (
	"fmt"
	"strings"
)

// mostNamed is how many names a warning says; of the rest it says how many there are.
const mostNamed = 10

// named lists names.
func named(names []string) string {
	if rest := len(names) - mostNamed; rest > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), rest)
	}
	return strings.Join(names, ", ")
}

// idle warns, once, of the sources that nothing starts and nobody watches.
func (r *reader) idle(o *Options) {
	var names []string
	for _, s := range r.config.Sources {
		if source := o.Sources[string(s.Name)]; source.Cron == "" && source.Overdue == 0 {
			names = append(names, string(s.Name))
		}
	}
	switch len(names) {
	case 0:
	case 1:
		r.warn("the source %s has no schedule: it is backed up only when somebody asks, and is never overdue", names[0])
	default:
		r.warn("%d sources have no schedule: they are backed up only when somebody asks, and are never overdue: %s", len(names), named(names))
	}
}

// heard warns where somebody is to hear of what happens, and nothing can tell them; and where nobody hears of a failure.
func (r *reader) heard(o *Options) {
	if r.config == nil {
		return
	}
	var unmailed []string
	mails := o.Mail != nil || r.config.Mail != nil
	told := len(o.Alarms) > 0 || o.Webhook != nil
	for _, s := range r.config.Sources {
		if len(s.Notify.To) > 0 {
			unmailed, told = append(unmailed, "the source "+string(s.Name)), told || mails
		}
	}
	for _, t := range r.config.Targets {
		if len(t.Notify.To) > 0 {
			unmailed = append(unmailed, "the target "+t.Name)
		}
	}
	if len(unmailed) > 0 && !mails {
		r.warn("no mail leaves, so notify: {to: …} reaches nobody: write deploy: {mail: {from: …}} for SES, or mail: {smtp: …}; concerned: %s", named(unmailed))
	}
	if !told {
		r.warn("nobody hears of a backup that fails, or of one that does not begin: write deploy: {alarms: [you@example.com]}")
	}
}
