package machine

import "slices"

func (l *loader) loadRetry(c cursor) []retrier {
	list := c.list()
	retriers := make([]retrier, 0, len(list))
	for i, below := range list {
		retriers = append(retriers, l.loadRetrier(below, i == len(list)-1))
	}
	return retriers
}

// maxRetryDelay is the largest MaxDelaySeconds that AWS takes: it must stay below 366 days.
const maxRetryDelay = 31_622_399

func (l *loader) loadRetrier(c cursor, last bool) retrier {
	r := retrier{interval: defaultInterval, attempts: defaultAttempts, rate: defaultRate}
	if !c.fields("a retrier", "ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy") {
		return r
	}
	r.names = l.loadErrorEquals(c, last)
	if v, ok := c.key("IntervalSeconds"); ok {
		r.interval = v.seconds(1)
	}
	if v, ok := c.key("MaxAttempts"); ok {
		r.attempts = v.integer(0, maxSeconds)
	}
	if v, ok := c.key("BackoffRate"); ok {
		r.rate = v.number(1, 1e6)
	}
	if v, ok := c.key("MaxDelaySeconds"); ok {
		r.max = seconds(float64(v.integer(1, maxRetryDelay)))
		if r.max < r.interval {
			v.fail("must not be less than IntervalSeconds")
		}
	}
	if v, ok := c.key("JitterStrategy"); ok {
		r.full = v.oneOf("FULL", "NONE") == "FULL"
	}
	return r
}

// loadErrorEquals reads the names of a retrier or catcher; last tells whether it is the last of its list.
func (l *loader) loadErrorEquals(c cursor, last bool) []string {
	field, ok := c.need("ErrorEquals")
	if !ok {
		return nil
	}
	list := field.list()
	names := make([]string, 0, len(list))
	for _, below := range list {
		name, ok := below.str()
		if !ok {
			continue
		}
		names = append(names, name)
		l.checkErrorName(below, name)
	}
	if slices.Contains(names, nameAll) {
		if len(list) > 1 {
			field.fail("%s must stand alone", nameAll)
		}
		if !last {
			field.fail("%s must come last", nameAll)
		}
	}
	return names
}

func (l *loader) checkErrorName(c cursor, name string) {
	switch {
	case isTerminal(name):
		c.fail("nothing can match %s", name)
	case !knownErrorName(name):
		c.fail("nothing raises an error named %q", name)
	default:
		l.machine.errorNames[name] = true
	}
}

func (l *loader) loadCatch(s *state, c cursor) []catcher {
	list := c.list()
	catchers := make([]catcher, 0, len(list))
	for i, below := range list {
		if !below.fields("a catcher", "ErrorEquals", "Next", "ResultPath") {
			continue
		}
		k := catcher{names: l.loadErrorEquals(below, i == len(list)-1), result: l.loadResultPath(below)}
		if next, ok := below.need("Next"); ok {
			k.next = l.reference(s, next)
		}
		if k.result.whole() {
			below.fail(`a catcher needs a ResultPath such as "$.error": without one the error replaces the input`)
		}
		catchers = append(catchers, k)
	}
	return catchers
}
