package notify

import (
	"strings"
	"unicode/utf8"
)

// table is a list of rows with the same columns. Its strings are safe to show, as those of content.
type table struct {
	Title   string
	Head    []string // may be empty
	Rows    [][]string
	Numbers bool   // all columns but the first hold numbers
	More    string // sentence about rows that are not shown
}

// Heading is the title in the text part.
func (t table) Heading() string { return strings.ToUpper(t.Title) }

// Lines are the rows in the text part, the head first, with columns that stand below one another.
func (t table) Lines() []string {
	rows := t.Rows
	if len(t.Head) > 0 {
		rows = append([][]string{t.Head}, rows...)
	}
	var widths []int
	for _, cells := range rows {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, 0, len(rows))
	for _, cells := range rows {
		lines = append(lines, t.line(cells, widths))
	}
	return lines
}

func (t table) line(cells []string, widths []int) string {
	var b strings.Builder
	for i, cell := range cells {
		gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			b.WriteString("  ")
		}
		if i > 0 && t.Numbers {
			b.WriteString(gap + cell)
			continue
		}
		b.WriteString(cell + gap)
	}
	return strings.TrimRight(b.String(), " ")
}
