// Package estimate computes what backups cost on AWS before they are made: from the sizes of a source's objects to
// requests, function time and stored bytes, and from those to dollars.
//
// price.go has the dated prices of a few regions. sizes.go describes a source by its sizes and says, as the planner
// would, into which packs it goes. backup.go has, step by step, what a backup asks of AWS: the formulas that
// benchmarks, console and documents share. floor.go says from which size on it is cheaper to have the store copy an
// object. Nothing here does I/O, and nothing was measured on AWS: docs/aws-costs.md names the assumptions.
package estimate

import (
	"fmt"
	"math"
	"slices"
)

// USD is money in billionths of a dollar.
type USD int64

const dollar USD = 1_000_000_000

// usd returns dollars as money, rounded to the billionth.
func usd(dollars float64) USD { return USD(math.Round(dollars * float64(dollar))) }

// String returns "$0.0042": dollars with cents from one dollar on, and where there is nothing below them; else four digits.
func (u USD) String() string {
	switch {
	case u < 0:
		return "-" + (-u).String()
	case u == 0:
		return "$0.00"
	case u < dollar/10_000:
		return "< $0.0001"
	case u < dollar-dollar/20_000 && u%(dollar/100) != 0:
		return fmt.Sprintf("$%.4f", float64(u)/float64(dollar))
	}
	return fmt.Sprintf("$%.2f", float64(u)/float64(dollar))
}

// Table is the prices of one region, on demand, without free tiers and discounts for volume.
type Table struct {
	Region string // whose prices these are
	Asked  string // the region that they were asked for
	Date   string // the day that they were looked up, YYYY-MM-DD

	Put        USD // 1,000 PUT, COPY, POST or LIST requests of S3; DELETE and abort cost nothing
	Get        USD // 1,000 GET or HEAD requests of S3
	Storage    USD // GB-month of S3 Standard, first 50 TB
	Egress     USD // GB to the internet, first 10 TB of a month
	Compute    USD // 1,000 GB-seconds of Lambda on arm64
	Invocation USD // 1,000 requests of Lambda
	Transition USD // 1,000 state transitions of a standard workflow of Step Functions
	KMS        USD // 1,000 requests with a symmetric key

	// A month of what is there whether it is used or not.
	Key       USD // of KMS; each of its first two yearly rotations adds as much
	Secret    USD // of Secrets Manager
	Alarm     USD // one metric that an alarm looks at
	Metric    USD // one of a stack's own, of the first 10,000
	Dashboard USD
}

// Borrowed reports whether the prices are those of another region, for want of the right ones.
func (t Table) Borrowed() bool { return t.Region != t.Asked }

// lookedUp is when the prices below were taken over. Their sources are older where they say so.
const lookedUp = "2026-11-22"

// tables is the prices by region. None was read from AWS directly: these are AWS's price lists as others have quoted
// them. Lambda on arm64 costs the same in the four regions (artillery 2.0.28, lib/platform/aws-lambda/prices.js; price
// list AWSLambda of Frankfurt as of 2026-10-09), and so do Step Functions (alexcasalboni/aws-lambda-power-tuning,
// template.yml, sfCosts) and KMS (pricing API, Singapore, 2026-08-12). What is paid by the month (keys, secrets, alarms,
// metrics, dashboards) are the published prices of us-east-1, not looked up in a price list, and taken for the others.
var tables = []Table{
	// S3 requests: price list AmazonS3 of 2026-07 (S3-API-Tier1, Tier2). Storage: pricing API, 2025-10-28. Egress: the
	// published first tier, not looked up in a price list.
	region("us-east-1", 0.005, 0.0004, 0.023, 0.09),
	// S3 and egress: price lists AmazonS3 and AWSDataTransfer of 2026-08-31.
	region("eu-central-1", 0.0054, 0.00043, 0.0245, 0.09),
	// S3: price list AmazonS3 as of 2026-09-06. Egress: that of the other European region, not looked up.
	region("eu-west-1", 0.005, 0.0004, 0.023, 0.09),
	// S3: pricing API, 2026-08-12, and price list of 2026-09-26. Egress: price list AWSDataTransfer of 2026.
	region("ap-southeast-1", 0.005, 0.0004, 0.025, 0.12),
}

// region returns a table from published prices in dollars: of 1,000 requests, a GB-month and a GB.
func region(name string, put, get, storage, egress float64) Table {
	return Table{
		Region: name, Asked: name, Date: lookedUp,
		Put: usd(put), Get: usd(get), Storage: usd(storage), Egress: usd(egress),
		Compute: usd(0.0133334), Invocation: usd(0.0002), Transition: usd(0.025), KMS: usd(0.003),
		Key: usd(1), Secret: usd(0.4), Alarm: usd(0.1), Metric: usd(0.3), Dashboard: usd(3),
	}
}

// Regions returns the regions whose prices are known.
func Regions() []string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Region
	}
	return names
}

// Prices returns the prices of a region; those of us-east-1, and Borrowed, where it is not known.
func Prices(region string) Table {
	i := max(0, slices.IndexFunc(tables, func(t Table) bool { return t.Region == region }))
	t := tables[i]
	t.Asked = region
	return t
}

// Usage is what AWS bills.
type Usage struct {
	Put         int64   // S3 requests of the class PUT, COPY, POST, LIST
	Get         int64   // S3 requests of the class GET, HEAD
	GBSeconds   float64 // of functions
	Invocations int64   // of functions
	Transitions int64   // of the workflow
	KMS         int64   // requests
	StoredBytes int64   // that are kept for a month
	EgressBytes int64   // that leave for the internet
}

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Put: u.Put + v.Put, Get: u.Get + v.Get, GBSeconds: u.GBSeconds + v.GBSeconds,
		Invocations: u.Invocations + v.Invocations, Transitions: u.Transitions + v.Transitions, KMS: u.KMS + v.KMS,
		StoredBytes: u.StoredBytes + v.StoredBytes, EgressBytes: u.EgressBytes + v.EgressBytes,
	}
}

// Cost is what a usage costs.
type Cost struct {
	Requests USD // of S3
	Compute  USD // of functions
	Workflow USD
	KMS      USD
	Egress   USD
	Storage  USD // of one month
}

// Once returns what is paid a single time: all but storage.
func (c Cost) Once() USD { return c.Requests + c.Compute + c.Workflow + c.KMS + c.Egress }

// Total returns what is paid, with the first month of storage.
func (c Cost) Total() USD { return c.Once() + c.Storage }

// gb is a GB on the bill: 2^30 bytes, also in a GB-month (the worked examples of the S3 FAQ).
const gb = 1 << 30

// Price returns what a usage costs; each line is rounded to the billionth of a dollar.
func (u Usage) Price(t Table) Cost {
	line := func(price USD, units float64) USD { return USD(math.Round(float64(price) * units)) }
	thousands := func(price USD, n int64) USD { return line(price, float64(n)/1000) }
	return Cost{
		Requests: thousands(t.Put, u.Put) + thousands(t.Get, u.Get),
		Compute:  line(t.Compute, u.GBSeconds/1000) + thousands(t.Invocation, u.Invocations),
		Workflow: thousands(t.Transition, u.Transitions),
		KMS:      thousands(t.KMS, u.KMS),
		Egress:   line(t.Egress, float64(u.EgressBytes)/gb),
		Storage:  line(t.Storage, float64(u.StoredBytes)/gb),
	}
}
