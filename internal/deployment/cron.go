package deployment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cron is EventBridge's expression of six fields: minutes, hours, day of the month, month, day of the week, year. One of
// the two days is "?", and the other decides.
//
//	minutes 0-59   hours 0-23   month 1-12, JAN-DEC   year 1970-2199       , - * /
//	day of the month 1-31                                                  , - * / L W: L the last one, 3W the weekday nearest to the 3rd
//	day of the week 1-7, SUN-SAT                                           , - * / L #: 6L the last Friday, 3#2 the second Tuesday
type cron struct {
	minutes, hours, months, years numbers
	day                           func(time.Time) bool
	text                          []string // the fields
}

// numbers are the values that a field allows; nil allows all.
type numbers []int

func (n numbers) has(v int) bool { return n == nil || slices.Contains(n, v) }

// field is what a field may hold.
type field struct {
	name     string
	low, top int
	names    []string // of the values from low on
}

var (
	minuteField  = field{"minutes", 0, 59, nil}
	hourField    = field{"hours", 0, 23, nil}
	dateField    = field{"day of the month", 1, 31, nil}
	monthField   = field{"month", 1, 12, strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")}
	weekdayField = field{"day of the week", 1, 7, strings.Fields("SUN MON TUE WED THU FRI SAT")}
	yearField    = field{"year", 1970, 2199, nil}
)

// parseCron reads an expression, without cron( ). The error names the field.
func parseCron(text string) (cron, error) {
	if inner, found := strings.CutPrefix(text, "cron("); found {
		return cron{}, fmt.Errorf("must be the six fields alone, without cron( ): %q", strings.TrimSuffix(inner, ")"))
	}
	if strings.HasPrefix(text, "rate(") {
		return cron{}, fmt.Errorf("must be a cron expression, not rate( ): \"0 0/6 * * ? *\" is every six hours, \"0 4 * * ? *\" every day at 4 o'clock")
	}
	f := strings.Fields(text)
	if len(f) != 6 || (f[2] == "?") == (f[4] == "?") {
		return cron{}, fmt.Errorf("must have six fields, and ? for either the day of the month or the day of the week: \"0 4 * * ? *\" is every day at 4 o'clock")
	}
	c := cron{text: f}
	var err error
	for _, part := range []struct {
		field field
		into  *numbers
		text  string
	}{{minuteField, &c.minutes, f[0]}, {hourField, &c.hours, f[1]}, {monthField, &c.months, f[3]}, {yearField, &c.years, f[5]}} {
		if *part.into, err = part.field.parse(part.text); err != nil {
			return cron{}, err
		}
	}
	if f[4] == "?" {
		c.day, err = dates(f[2])
	} else {
		c.day, err = weekdays(f[4])
	}
	return c, err
}

// parse reads a list of values, ranges and steps.
func (f field) parse(text string) (numbers, error) {
	if text == "*" {
		return nil, nil
	}
	var all numbers
	for part := range strings.SplitSeq(text, ",") {
		from, to, step, err := f.span(part)
		if err != nil {
			return nil, err
		}
		for v := from; v <= to; v += step {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// span reads 5, 5-9, 5-9/2, 5/10 (from 5 to the end) or */10.
func (f field) span(text string) (from, to, step int, err error) {
	wrong := fmt.Errorf("is wrong: %q is no %s of EventBridge: %d to %d, with , - * and /", text, f.name, f.low, f.top)
	text, every, steps := strings.Cut(text, "/")
	first, last, ranged := strings.Cut(text, "-")
	from, to, step = f.value(first), f.value(last), 1
	if first == "*" {
		from, to = f.low, f.top
	} else if !ranged && steps {
		to = f.top
	} else if !ranged {
		to = from
	}
	if steps {
		step, _ = strconv.Atoi(every)
	}
	if from < 0 || to < from || step < 1 || first == "*" && ranged {
		return 0, 0, 0, wrong
	}
	return from, to, step, nil
}

// value reads one value; -1 for what is none.
func (f field) value(text string) int {
	if i := slices.Index(f.names, text); i >= 0 {
		return f.low + i
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.top {
		return -1
	}
	return v
}

// dates reads the day of the month.
func dates(text string) (func(time.Time) bool, error) {
	if text == "L" {
		return func(day time.Time) bool { return day.Day() == monthEnd(day) }, nil
	}
	if date, weekday := strings.CutSuffix(text, "W"); weekday {
		wanted := dateField.value(date)
		if date == "L" {
			wanted = 31
		}
		if wanted < 0 {
			return nil, fmt.Errorf("is wrong: %q is no day of the month of EventBridge: 3W is the weekday nearest to the 3rd, LW the last one", text)
		}
		return func(day time.Time) bool { return day.Day() == nearestWeekday(day, wanted, date == "L") }, nil
	}
	allowed, err := dateField.parse(text)
	return func(day time.Time) bool { return allowed.has(day.Day()) }, err
}

// monthEnd returns the last day of a day's month.
func monthEnd(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 12, 0, 0, 0, time.UTC).Day()
}

// nearestWeekday returns the Monday to Friday of a day's month that is nearest to a date; 0 where the month has no such
// date. last takes the last date of the month.
func nearestWeekday(day time.Time, date int, last bool) int {
	end := monthEnd(day)
	if last {
		date = end
	}
	if date > end {
		return 0
	}
	switch time.Date(day.Year(), day.Month(), date, 12, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if date > 1 {
			return date - 1
		}
		return date + 2
	case time.Sunday:
		if date < end {
			return date + 1
		}
		return date - 2
	}
	return date
}

// weekdays reads the day of the week, of which 1 is Sunday.
func weekdays(text string) (func(time.Time) bool, error) {
	number := func(day time.Time) int { return int(day.Weekday()) + 1 }
	if text == "L" { // of the week
		return func(day time.Time) bool { return day.Weekday() == time.Saturday }, nil
	}
	if name, which, ok := strings.Cut(text, "#"); ok {
		wanted, n := weekdayField.value(name), (field{low: 1, top: 5}).value(which)
		if wanted < 0 || n < 0 {
			return nil, fmt.Errorf("is wrong: %q is no day of the week of EventBridge: 3#2 is the second Tuesday", text)
		}
		return func(day time.Time) bool { return number(day) == wanted && (day.Day()+6)/7 == n }, nil
	}
	if name, ok := strings.CutSuffix(text, "L"); ok {
		wanted := weekdayField.value(name)
		if wanted < 0 {
			return nil, fmt.Errorf("is wrong: %q is no day of the week of EventBridge: 6L is the last Friday", text)
		}
		return func(day time.Time) bool { return number(day) == wanted && day.Day()+7 > monthEnd(day) }, nil
	}
	allowed, err := weekdayField.parse(text)
	return func(day time.Time) bool { return allowed.has(number(day)) }, err
}

// horizon is how many days ahead next looks: the 29th of February comes every eighth year at least.
const horizon = 9 * 366

// next returns the next n times after a moment, in its zone; fewer where there are no more of them within nine years. A
// time that a clock leaves out in spring is left out, and one that it shows twice in autumn comes once: so EventBridge
// says that it does.
func (c cron) next(after time.Time, n int) []time.Time {
	var times []time.Time
	year, month, date := after.Date()
	for i := range horizon {
		day := time.Date(year, month, date+i, 12, 0, 0, 0, time.UTC)
		if !c.years.has(day.Year()) || !c.months.has(int(day.Month())) || !c.day(day) {
			continue
		}
		for hour := range 24 {
			if !c.hours.has(hour) {
				continue
			}
			for minute := range 60 {
				if !c.minutes.has(minute) {
					continue
				}
				at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, after.Location())
				if at.Hour() != hour || at.Minute() != minute || !at.After(after) {
					continue
				}
				if times = append(times, at); len(times) == n {
					return times
				}
			}
		}
	}
	return times
}

// gap returns the longest time between two runs that follow each other from a moment's day on, as clocks without summer time
// show it; 0 where there are no two within nine years.
func (c cron) gap(after time.Time) (longest time.Duration) {
	first, last, longest := c.span()
	year, month, date := after.Date()
	before := -1 // the day of the run before
	for i := range horizon {
		day := time.Date(year, month, date+i, 12, 0, 0, 0, time.UTC)
		if !c.years.has(day.Year()) || !c.months.has(int(day.Month())) || !c.day(day) {
			continue
		}
		if before >= 0 {
			longest = max(longest, time.Duration(i-before)*24*time.Hour-last+first)
		}
		before = i
	}
	return longest
}

// lost returns the longest time between two runs of which a clock that goes forward leaves out one between them, and the
// day on which it does; 0 where no run within nine years is left out.
func (c cron) lost(after time.Time) (longest time.Duration, on time.Time) {
	year, month, date := after.Date()
	before := after
	for i := range horizon {
		start := time.Date(year, month, date+i, 0, 0, 0, 0, after.Location())
		day := time.Date(year, month, date+i, 12, 0, 0, 0, time.UTC)
		if !c.years.has(day.Year()) || !c.months.has(int(day.Month())) || !c.day(day) {
			continue
		}
		if c.passedOver(day, after.Location()) {
			times := c.next(before, 2*c.perDay()+1)
			for k := 1; k < len(times); k++ {
				if gap := times[k].Sub(times[k-1]); gap > longest && times[k].After(start) {
					longest, on = gap, day
				}
			}
		}
		before = start.Add(-time.Nanosecond)
	}
	return longest, on
}

// passedOver reports whether a time of a day on which there are runs does not exist in a zone.
func (c cron) passedOver(day time.Time, zone *time.Location) bool {
	at := func(hour, minute int) time.Time {
		return time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, zone)
	}
	_, morning := at(0, 0).Add(-time.Hour).Zone()
	_, evening := at(23, 59).Zone()
	if evening <= morning {
		return false
	}
	for minute := range 24 * 60 {
		if c.hours.has(minute/60) && c.minutes.has(minute%60) {
			if t := at(minute/60, minute%60); t.Hour() != minute/60 || t.Minute() != minute%60 {
				return true
			}
		}
	}
	return false
}

// perDay counts the runs of a day that has some.
func (c cron) perDay() (n int) {
	for minute := range 24 * 60 {
		if c.hours.has(minute/60) && c.minutes.has(minute%60) {
			n++
		}
	}
	return n
}

// span returns the first and the last time of a day that has runs, and the longest time between two of them.
func (c cron) span() (first, last, longest time.Duration) {
	first = -1
	for minute := range 24 * 60 {
		if !c.hours.has(minute/60) || !c.minutes.has(minute%60) {
			continue
		}
		at := time.Duration(minute) * time.Minute
		if first < 0 {
			first = at
		} else {
			longest = max(longest, at-last)
		}
		last = at
	}
	return first, last, longest
}

var weekdayNames = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

// words says an expression as people do, "every Sunday at 04:30"; of one that is not so simple, what it is.
func (c cron) words() string {
	if c.text == nil {
		return ""
	}
	clock := c.clock()
	days, plain := "", c.text[3] == "*" && c.text[5] == "*"
	weekday := weekdayField.value(c.text[4])
	date := dateField.value(c.text[2])
	switch {
	case !plain:
	case c.text[2] == "*" || c.text[4] == "*":
		days = "every day"
	case weekday > 0:
		days = "every " + weekdayNames[weekday-1]
	case c.text[4] == "MON-FRI" || c.text[4] == "2-6":
		days = "Monday to Friday"
	case date > 0:
		days = fmt.Sprintf("on day %d of every month", date)
	case c.text[2] == "L":
		days = "on the last day of every month"
	}
	if days == "" || clock == "" {
		return "cron(" + strings.Join(c.text, " ") + ")"
	}
	return days + " " + clock
}

// clock says at which times of a day; "" where that takes too many words.
func (c cron) clock() string {
	if c.hours == nil && len(c.minutes) == 1 {
		return fmt.Sprintf("at minute %d of every hour", c.minutes[0])
	}
	if c.hours == nil || c.minutes == nil || len(c.hours)*len(c.minutes) > 4 {
		return ""
	}
	var times []string
	for _, hour := range c.hours {
		for _, minute := range c.minutes {
			times = append(times, fmt.Sprintf("%02d:%02d", hour, minute))
		}
	}
	return "at " + strings.Join(times, ", ")
}
