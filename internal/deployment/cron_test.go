package deployment

import (
	"strings"
	"testing"
	"time"
)

// TestNext: the next three times after Sunday, the 22nd of November 2026, 08:00:30 in Zurich (UTC+1).
func TestNext(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	after := time.Date(2026, 11, 22, 8, 0, 30, 0, zurich)
	for text, want := range map[string]string{
		"0 4 * * ? *":           "2026-11-23T04:00 2026-11-24T04:00 2026-11-25T04:00",
		"0 4 ? * * *":           "2026-11-23T04:00 2026-11-24T04:00 2026-11-25T04:00",
		"0 8 * * ? *":           "2026-11-23T08:00 2026-11-24T08:00 2026-11-25T08:00",
		"1 8 * * ? *":           "2026-11-22T08:01 2026-11-23T08:01 2026-11-24T08:01",
		"30 4 ? * SUN *":        "2026-11-29T04:30 2026-12-06T04:30 2026-12-13T04:30",
		"30 4 ? * 1 *":          "2026-11-29T04:30 2026-12-06T04:30 2026-12-13T04:30",
		"0/20 9 ? * MON-FRI *":  "2026-11-23T09:00 2026-11-23T09:20 2026-11-23T09:40",
		"*/30 9,10 * * ? *":     "2026-11-22T09:00 2026-11-22T09:30 2026-11-22T10:00",
		"5 0-12/6 22 * ? *":     "2026-11-22T12:05 2026-12-22T00:05 2026-12-22T06:05",
		"0 1 L * ? *":           "2026-11-30T01:00 2026-12-31T01:00 2027-01-31T01:00",
		"0 1 LW * ? *":          "2026-11-30T01:00 2026-12-31T01:00 2027-01-29T01:00",
		"0 1 1W * ? *":          "2026-12-01T01:00 2027-01-01T01:00 2027-02-01T01:00",
		"0 1 1W 5,8 ? *":        "2027-05-03T01:00 2027-08-02T01:00 2028-05-01T01:00", // Saturday and Sunday
		"0 1 31W * ? *":         "2026-12-31T01:00 2027-01-29T01:00 2027-03-31T01:00",
		"0 1 ? * 6L *":          "2026-11-27T01:00 2026-12-25T01:00 2027-01-29T01:00",
		"0 1 ? * L *":           "2026-11-28T01:00 2026-12-05T01:00 2026-12-12T01:00",
		"0 1 ? * 3#2 *":         "2026-12-08T01:00 2027-01-12T01:00 2027-02-09T01:00",
		"0 1 ? * TUE#5 *":       "2026-12-29T01:00 2027-03-30T01:00 2027-06-29T01:00",
		"0 12 29 FEB ? *":       "2028-02-29T12:00 2032-02-29T12:00",
		"0 12 1 1 ? 2027":       "2027-01-01T12:00",
		"0 12 1 1 ? 2020-2025":  "",
		"0 12 31 APR,JUN ? *":   "",
		"30 2 28 3 ? 2027-2029": "2028-03-28T02:30 2029-03-28T02:30", // in 2027 clocks go forward at 2 o'clock
		"30 2 ? 10 1L 2027":     "2027-10-31T02:30",                  // clocks go back at 3: once
	} {
		c, err := parseCron(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, at := range c.next(after, 3) {
			got = append(got, at.Format("2006-01-02T15:04"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestCronRefused(t *testing.T) {
	for text, want := range map[string]string{
		"0 4 * * *":         "six fields",
		"0 4 * * * *":       "six fields",
		"0 4 ? * ? *":       "six fields",
		"60 4 * * ? *":      `"60" is no minutes`,
		"0 24 * * ? *":      `"24" is no hours`,
		"0 4 0 * ? *":       "no day of the month",
		"0 4 32 * ? *":      "no day of the month",
		"0 4 xW * ? *":      "no day of the month",
		"0 4 * 13 ? *":      "no month",
		"0 4 * Jan ? *":     "no month",
		"0 4 ? * 8 *":       "no day of the week",
		"0 4 ? * 3#6 *":     "no day of the week",
		"0 4 ? * 9L *":      "no day of the week",
		"0 4 ? * SAT-SUN *": "no day of the week",
		"0 4 * * ? 1969":    "no year",
		"0 5-4 * * ? *":     "no hours",
		"0 */0 * * ? *":     "no hours",
		"0 4,,5 * * ? *":    "no hours",
		"0 *-5 * * ? *":     "no hours",
	} {
		if _, err := parseCron(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"0 4 * * ? *":        "every day at 04:00",
		"0 4,16 ? * * *":     "every day at 04:00, 16:00",
		"30 4 ? * SUN *":     "every Sunday at 04:30",
		"30 4 ? * MON-FRI *": "Monday to Friday at 04:30",
		"5 0 1 * ? *":        "on day 1 of every month at 00:05",
		"5 0 L * ? *":        "on the last day of every month at 00:05",
		"10 * * * ? *":       "every day at minute 10 of every hour",
		"0 1 ? * 3#2 *":      "cron(0 1 ? * 3#2 *)",
		"*/5 * * * ? *":      "cron(*/5 * * * ? *)",
		"0 4 * 1 ? *":        "cron(0 4 * 1 ? *)",
	} {
		c, err := parseCron(text)
		if err != nil || c.words() != want {
			t.Errorf("%s: %q, %v, want %q", text, c.words(), err, want)
		}
	}
}
