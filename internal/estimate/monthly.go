package estimate

// Monthly is what a stack has that costs the same each month, whether it works or not.
type Monthly struct {
	Keys       int64 // of KMS
	Secrets    int64 // of Secrets Manager
	Watched    int64 // metrics that alarms look at: an alarm on a sum of metrics is billed for each of them
	Metrics    int64 // of its own, that are written all month
	Dashboards int64
	Sources    int64 // that the watchdog looks at, each four times an hour
}

// A look of the watchdog lists the records of a source and reads those of about a week: daily backups are taken here.
const (
	looks       = 30 * 24 * 4 // a month
	lookRecords = 8
	lookGB      = 0.25 // of memory
	lookSeconds = 0.5  // assumed
)

func (t Table) watchdog() USD {
	return looks * (t.Put + lookRecords*t.Get + t.Invocation + USD(lookGB*lookSeconds*float64(t.Compute))) / 1000
}

// Item is one line of a monthly bill.
type Item struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
	Each  USD    `json:"-"` // a month
}

// Sum returns what the items of a line cost a month.
func (i Item) Sum() USD { return USD(i.Count) * i.Each }

// Items returns the bill by line; what there is none of is left out.
func (m Monthly) Items(t Table) []Item {
	var items []Item
	for _, i := range []Item{
		{"KMS keys", m.Keys, t.Key},
		{"secrets", m.Secrets, t.Secret},
		{"metrics that alarms look at", m.Watched, t.Alarm},
		{"metrics of its own", m.Metrics, t.Metric},
		{"dashboards", m.Dashboards, t.Dashboard},
		{"sources that the watchdog looks at", m.Sources, t.watchdog()},
	} {
		if i.Count > 0 {
			items = append(items, i)
		}
	}
	return items
}

// Price returns what all of it costs a month.
func (m Monthly) Price(t Table) USD {
	var sum USD
	for _, i := range m.Items(t) {
		sum += i.Sum()
	}
	return sum
}
