package estimate

// Monthly is what a stack has that costs the same each month, whether it works or not.
type Monthly struct {
	Keys       int64 // of KMS
	Secrets    int64 // of Secrets Manager
	Watched    int64 // metrics that alarms look at: an alarm on a sum of metrics is billed for each of them
	Metrics    int64 // of its own, that are written all month
	Dashboards int64
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
