package zipline

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// unknownDate is the date of creation of a row whose own is none: every import wants one, and refuses all of a backup
// over a single row without.
const unknownDate = "1970-01-01T00:00:00.000Z"

// datesIn are the fields of rows that an import reads as dates.
var datesIn = []string{"createdAt", "deletesAt", "expiresAt", "lastUsed"}

// settleDates writes the dates of a row as Zipline itself does, in whichever form of JavaScript's they are. It returns
// true where the date of creation is none, and was replaced by unknownDate; another one that is none stays, but for that
// of a passkey's last use, which no import keeps.
func settleDates(row fields) (unknown bool) {
	for _, name := range datesIn {
		text, is := row[name].(string)
		if !is || text == "" && name != "createdAt" {
			continue
		}
		switch at, ok := parseDate(text); {
		case ok:
			row[name] = iso(at)
		case !ok && name == "createdAt":
			row[name], unknown = unknownDate, true
		case !ok && name == "lastUsed":
			row[name] = nil
		}
	}
	return unknown
}

const isoLayout = "2006-01-02T15:04:05.000Z"

// iso writes a date as JavaScript's toISOString does: years of more or less than four digits have a sign and six.
func iso(at time.Time) string {
	at = at.UTC()
	if year := at.Year(); year < 0 || year > 9999 {
		return fmt.Sprintf("%+07d", year) + at.Format(isoLayout[len("2006"):])
	}
	return at.Format(isoLayout)
}

// lastDate is the end of JavaScript's dates, and as far before 1970 their beginning.
const lastDate = 8_640_000_000_000_000 // ms

// maxDate bounds the text of a date, in bytes.
const maxDate = 100

// dateParts takes a date apart: the day, the time, am or pm, the zone's name, its offset. A weekday's name before it and
// what stands in brackets behind it say nothing.
var dateParts = regexp.MustCompile(`(?i)^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?(.+?)` +
	`(?:(?:,|t|\s)\s*(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(?:\s*([ap]m))?(?:\s*(z|utc?|gmt|[ecmp][sd]t))?(?:\s*([+-]\d{2}(?::?\d{2})?))?)?(?:\s*\([^()]*\))?$`)

// days are the forms of the day alone.
var days = []string{
	"2006-1-2", "2006/1/2", "1/2/2006", "1-2-2006", "Jan 2 2006", "Jan 2, 2006", "January 2 2006", "January 2, 2006",
	"2 Jan 2006", "2-Jan-2006", "2 January 2006", "2006-01", "2006",
}

// zones are the names of zones that JavaScript knows.
var zones = map[string]string{
	"": "+0000", "Z": "+0000", "UT": "+0000", "UTC": "+0000", "GMT": "+0000", "EST": "-0500", "EDT": "-0400",
	"CST": "-0600", "CDT": "-0500", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}

// parseDate reads a date in the forms that programs write and that JavaScript's Date.parse, with which Zipline checks
// dates, takes: those of ISO 8601, of mail, of JavaScript's own toString, and of its US texts. One that names no zone is
// of the server's in JavaScript, which nobody knows here: it is taken as UTC.
func parseDate(text string) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && !strings.Contains(text, ",") {
		return at, true
	}
	if len(text) > maxDate {
		return time.Time{}, false
	}
	at, ok := parseFar(strings.TrimSpace(text))
	return at, ok && max(at.UnixMilli(), -at.UnixMilli()) <= lastDate
}

// farYear is a year with a sign and six digits, and what follows.
var farYear = regexp.MustCompile(`^([+-]\d{6})((?:[-/ tT].*)?)$`)

// parseFar reads a date of any year: the days of one are those of the year 400 years later.
func parseFar(text string) (time.Time, bool) {
	parts := farYear.FindStringSubmatch(text)
	if parts == nil {
		return parseNear(text)
	}
	year, err := strconv.Atoi(parts[1])
	if err != nil || parts[1] == "-000000" {
		return time.Time{}, false
	}
	near := 2000 + (year%400+400)%400
	at, ok := parseNear(strconv.Itoa(near) + parts[2])
	return at.UTC().AddDate(year-near, 0, 0), ok
}

func parseNear(text string) (time.Time, bool) {
	parts := dateParts.FindStringSubmatch(text)
	if parts == nil {
		return time.Time{}, false
	}
	layout, rest := clock(parts[2], strings.ToUpper(parts[3]))
	zone := zones[strings.ToUpper(parts[4])]
	if parts[5] != "" {
		zone = (strings.ReplaceAll(parts[5], ":", "") + "00")[:len("+0000")]
	}
	more := 0 // days
	if midnight.MatchString(rest) {
		rest, more = strings.Replace(rest, "24", "00", 1), 1
	}
	at, ok := parseDay(parts[1], layout+" -0700", rest+" "+zone)
	return at.AddDate(0, 0, more), ok
}

// midnight is the end of a day, which is the beginning of the next.
var midnight = regexp.MustCompile(`^24:00(?::00(?:\.0+)?)?$`)

// lateDay is a day that not all months have: in JavaScript such a one is of the next.
var lateDay = regexp.MustCompile(`\b(?:29|30|31)\b`)

// parseDay reads the day in any of its forms, and what follows it in one.
func parseDay(day, layout, rest string) (time.Time, bool) {
	for _, form := range days {
		if at, err := time.Parse(form+" "+layout, day+" "+rest); err == nil {
			return at, true
		}
	}
	late := lateDay.FindStringIndex(day)
	if late == nil {
		return time.Time{}, false
	}
	n, _ := strconv.Atoi(day[late[0]:late[1]]) // two digits
	at, ok := parseDay(day[:late[0]]+"28"+day[late[1]:], layout, rest)
	return at.AddDate(0, 0, n-28), ok
}

// clock returns the form of a time of day, and the time in it.
func clock(text, half string) (layout, value string) {
	switch strings.Count(text, ":") {
	case 0:
		return "15:04", "00:00"
	case 1:
		layout = "15:04"
	default:
		layout = "15:04:05"
	}
	if half != "" {
		return strings.Replace(layout, "15", "3", 1) + " PM", text + " " + half
	}
	return layout, text
}
