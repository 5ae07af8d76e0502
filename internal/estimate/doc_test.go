package estimate_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/deployment"
	"lifeboat/internal/estimate"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/plain"
)

var update = flag.Bool("update", false, "write the tables of docs/aws-costs.md anew")

const (
	costsPage = "../../docs/aws-costs.md"
	begin     = "<!-- from here on: go test ./internal/estimate -run TestCostsPage -update -->\n"
)

// examples are the sources of the tables, by name.
func examples() map[string]estimate.Sizes {
	return map[string]estimate.Sizes{
		"1 GB": estimate.Media(1e9), "100 GB": estimate.Media(1e11), "1 TB": estimate.Media(1e12), "10 TB": estimate.Media(1e13),
		"1,000,000 files of 20 KiB": estimate.Uniform(1_000_000, 20<<10),
	}
}

func TestCostsPage(t *testing.T) {
	page, err := os.ReadFile(costsPage)
	if err != nil {
		t.Fatal(err)
	}
	prose, tables, found := strings.Cut(string(page), begin)
	if !found {
		t.Fatalf("%s has no line %q", costsPage, begin)
	}
	want := render(t)
	if *update {
		if err := os.WriteFile(costsPage, []byte(prose+begin+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("%s is stale; write it anew with -update (-want +got):\n%s", costsPage, diff)
	}
}

func render(t *testing.T) string {
	var b strings.Builder
	names := []string{"1 GB", "100 GB", "1 TB", "10 TB", "1,000,000 files of 20 KiB"}
	prices := estimate.Prices("us-east-1")
	floor, err := estimate.SpliceFloor(estimate.Splice{Prefer: "cost", Prices: prices, Filler: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefer := range []struct {
		name  string
		floor int64
	}{{"cost", floor}, {"speed", 5 * mib}} {
		fmt.Fprintf(&b, "\n## `prefer: %s`: the store copies objects of %d MiB and more\n\n", prefer.name, prefer.floor/mib)
		fmt.Fprint(&b, "| source | backup | packs | parts | PUT class | GET class | GB-s | transitions | once | stored, GB | storage a month |\n"+
			"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, name := range names {
			d := estimate.Describe(examples()[name], estimate.Policy{Splice: prefer.floor, Archive: true, Fast: prefer.name == "speed"})
			next, onDemand := d.Next(), d.Next()
			onDemand.Archive = false
			row(&b, name, "first, with archive", d, prices)
			row(&b, "", "next, with archive", next, prices)
			row(&b, "", "next, without", onDemand, prices)
		}
	}
	fmt.Fprintf(&b, "\n## Where the money goes: 1 TB, first backup, `prefer: cost`\n\n")
	fmt.Fprint(&b, "| step | PUT class | GET class | GB-s | calls | transitions | once |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range estimate.Steps(estimate.Describe(examples()["1 TB"], estimate.Policy{Splice: floor, Archive: true})) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", s.Name, plain.Number(s.Put), plain.Number(s.Get), plain.Number(int64(s.GBSeconds)),
			plain.Number(s.Invocations), plain.Number(s.Transitions), s.Price(prices).Once())
	}
	renderLocked(&b, names, floor, prices)
	renderMonthly(t, &b, prices)
	renderFloor(&b)
	renderPrices(&b)
	return b.String()
}

func row(b *strings.Builder, name, which string, d estimate.Description, prices estimate.Table) {
	u := estimate.Backup(d)
	cost := u.Price(prices)
	parts := "–"
	if d.Archive {
		copied, literal := d.Parts()
		parts = plain.Number(copied + literal)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %.1f | %s |\n", name, which, plain.Number(d.Packs()), parts,
		plain.Number(u.Put), plain.Number(u.Get), plain.Number(int64(u.GBSeconds)), plain.Number(u.Transitions), cost.Once(),
		float64(u.StoredBytes)/1e9, cost.Storage)
}

// renderLocked shows what immutability and MACs add.
func renderLocked(b *strings.Builder, names []string, floor int64, prices estimate.Table) {
	fmt.Fprint(b, "\n## On top, with `immutability` and a key for MACs\n\n| source | backup | PUT class | GET class | KMS | once |\n|---|---|--:|--:|--:|--:|\n")
	for _, name := range names {
		plain := estimate.Describe(examples()[name], estimate.Policy{Splice: floor, Archive: true})
		both := estimate.Describe(examples()[name], estimate.Policy{Splice: floor, Archive: true, Locked: true, MAC: true})
		moreRow(b, name, "first", plain, both, prices)
		moreRow(b, "", "next", plain.Next(), both.Next(), prices)
	}
}

func moreRow(b *strings.Builder, name, which string, without, with estimate.Description, prices estimate.Table) {
	u, v := estimate.Backup(without), estimate.Backup(with)
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, which, plain.Number(v.Put-u.Put), plain.Number(v.Get-u.Get), plain.Number(v.KMS-u.KMS),
		v.Price(prices).Once()-u.Price(prices).Once())
}

// renderMonthly shows what a stack costs while nobody uses it: the counts are those of `lifeboat deploy --print`.
func renderMonthly(t *testing.T, b *strings.Builder, prices estimate.Table) {
	const one = "vault: ./v\nsources:\n  papers: {kind: files, path: s3://papers}\ndeploy:\n  sources: {papers: {cron: \"0 4 * * ? *\"}}\n"
	o, err := deployment.Parse("lifeboat.yaml", []byte(one), "/")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(b, "\n## Each month, while nothing runs: one source that a watchdog looks at\n\n| | count | each | a month |\n|---|--:|--:|--:|\n")
	fixed := estimate.Monthly(o.Facts(time.Unix(0, 0)).Fixed)
	for _, i := range fixed.Items(prices) {
		fmt.Fprintf(b, "| %s | %d | %s | %s |\n", i.What, i.Count, i.Each, i.Sum())
	}
	fmt.Fprintf(b, "| **together** | | | **%s** |\n", fixed.Price(prices))
}

// TestMemory: what is computed is what is deployed.
func TestMemory(t *testing.T) {
	for _, name := range []string{"export", "copy", "package", "restore"} {
		if f, known := deployed.Named(name); !known || f.Memory != estimate.DefaultMemory {
			t.Errorf("%s has %d MiB, and %d are computed with", name, f.Memory, estimate.DefaultMemory)
		}
	}
}

func renderFloor(b *strings.Builder) {
	fmt.Fprint(b, "\n## From which size on a splice is cheaper, MiB\n\n| region | 512 MB | 1,024 MB | 1,769 MB | floor at 1,769 MB |\n|---|--:|--:|--:|--:|\n")
	for _, region := range estimate.Regions() {
		p := estimate.Prices(region)
		floor, _ := estimate.SpliceFloor(estimate.Splice{Prices: p})
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %.1f | %d |\n", region, estimate.BreakEven(p, 512)/mib, estimate.BreakEven(p, 1024)/mib, estimate.BreakEven(p, estimate.DefaultMemory)/mib, floor/mib)
	}
}

func renderPrices(b *strings.Builder) {
	fmt.Fprint(b, "\n## Prices, US dollars\n\n| |")
	regions := estimate.Regions()
	fmt.Fprintf(b, " %s |\n|---|%s\n", strings.Join(regions, " | "), strings.Repeat("--:|", len(regions)))
	for _, line := range []struct {
		name  string
		price func(estimate.Table) estimate.USD
	}{
		{"S3: 1,000 PUT, COPY, POST, LIST", func(t estimate.Table) estimate.USD { return t.Put }},
		{"S3: 1,000 GET, HEAD", func(t estimate.Table) estimate.USD { return t.Get }},
		{"S3 Standard: GB-month, first 50 TB", func(t estimate.Table) estimate.USD { return t.Storage }},
		{"egress: GB to the internet, first 10 TB", func(t estimate.Table) estimate.USD { return t.Egress }},
		{"Lambda arm64: 1,000 GB-s", func(t estimate.Table) estimate.USD { return t.Compute }},
		{"Lambda: 1,000 calls", func(t estimate.Table) estimate.USD { return t.Invocation }},
		{"Step Functions, standard: 1,000 transitions", func(t estimate.Table) estimate.USD { return t.Transition }},
		{"KMS: 1,000 requests", func(t estimate.Table) estimate.USD { return t.KMS }},
		{"KMS: a key, a month", func(t estimate.Table) estimate.USD { return t.Key }},
		{"Secrets Manager: a secret, a month", func(t estimate.Table) estimate.USD { return t.Secret }},
		{"CloudWatch: a metric that an alarm looks at, a month", func(t estimate.Table) estimate.USD { return t.Alarm }},
		{"CloudWatch: a metric of one's own, a month", func(t estimate.Table) estimate.USD { return t.Metric }},
		{"CloudWatch: a dashboard, a month", func(t estimate.Table) estimate.USD { return t.Dashboard }},
	} {
		fmt.Fprintf(b, "| %s |", line.name)
		for _, region := range regions {
			fmt.Fprintf(b, " %g |", float64(line.price(estimate.Prices(region)))/1e9)
		}
		fmt.Fprintln(b)
	}
	dates := []string{}
	for _, region := range regions {
		dates = append(dates, estimate.Prices(region).Date)
	}
	fmt.Fprintf(b, "\nLooked up on %s; sources in `internal/estimate/price.go`.\n", strings.Join(slices.Compact(dates), ", "))
}
