package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/deployment"
	"lifeboat/internal/estimate"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

func (c *cli) deployCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "deploy --print",
		Short: "Show what `make deploy` makes of lifeboat.yaml in AWS",
		Long: `Show what ` + "`make deploy`" + ` makes of lifeboat.yaml in an AWS account: the vault, the functions and what each may
touch, schedules with their next times, who may call the API, alarms, secrets by name, and what all of it
costs a month while nothing runs. It asks nobody: no network, no credentials, no Node.js.

What can't run in AWS is refused by name, with exit code 2.`,
		Args: args(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			if !show {
				return failure.New(failure.Usage, "the stack is deployed with `make deploy`, in a checkout of lifeboat").
					WithHint("`lifeboat deploy --print` shows what that makes; docs/runbook.md has the steps")
			}
			o, err := deployment.Load(c.configFile)
			if err != nil {
				return err
			}
			c.showDeployment(o.Facts(time.Now()))
			return nil
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "show it; nothing is made")
	return cmd
}

// billMessage is what a month costs while nothing runs.
type billMessage struct {
	Items  []itemMessage `json:"items"`
	USD    string        `json:"usd"`
	Region string        `json:"prices_of"`
	Date   string        `json:"prices_date"`
}

type itemMessage struct {
	estimate.Item
	USD string `json:"usd"`
}

func (c *cli) showDeployment(f deployment.Facts) {
	prices := estimate.Prices("us-east-1")
	monthly := estimate.Monthly(f.Fixed)
	if c.json {
		bill := billMessage{USD: monthly.Price(prices).String(), Region: prices.Region, Date: prices.Date}
		for _, i := range monthly.Items(prices) {
			bill.Items = append(bill.Items, itemMessage{i, i.Sum().String()})
		}
		c.message(struct {
			Type string `json:"message_type"`
			deployment.Facts
			Monthly billMessage `json:"monthly"`
		}{"deployment", f, bill})
		return
	}
	for _, w := range f.Warnings {
		c.warn("%s", w)
	}
	c.say("Stack %s. Nothing was made; `make deploy` in a checkout of lifeboat makes it.", f.Stack)
	c.showVault(f.Vault)
	c.showFunctions(f)
	c.showSchedules(f.Schedules)
	c.showPeople(f)
	c.showSecrets(f)
	c.section("Outputs, most of them commands to paste")
	width := 0
	for _, o := range f.Outputs {
		width = max(width, len(o.Name))
	}
	for _, o := range f.Outputs {
		c.item("%-*s %s", width, o.Name, o.Says)
	}
	c.section("Each month, while nothing runs: " + monthly.Price(prices).String())
	for _, i := range monthly.Items(prices) {
		c.item("%-8s %s: %d, %s each", i.Sum(), i.What, i.Count, i.Each)
	}
	c.item("prices of %s, %s. Storage, and what a backup costs, follow from its size: docs/aws-costs.md", prices.Region, prices.Date)
}

func (c *cli) section(title string) { c.say("\n%s", title) }

// item writes one line of a section. Names and addresses in it are a stranger's where the file is.
func (c *cli) item(format string, args ...any) {
	c.say("  %s", plain.Text(fmt.Sprintf(format, args...)))
}

func (c *cli) showVault(v deployment.Vault) {
	c.section("Vault: an S3 bucket of its own, which outlives the stack, with one for its access logs")
	c.item("%s", v.Encryption)
	c.item("Object Lock: %s", v.Lock)
	for _, r := range v.Lifecycle {
		c.item("%s", lifecycle(r))
	}
}

func lifecycle(r deployment.Rule) string {
	where := ""
	if r.Prefix != "" {
		where = " below " + r.Prefix
	}
	switch {
	case r.Abort > 0:
		return fmt.Sprintf("uploads that nobody completes%s are aborted after %s", where, plain.Count(int64(r.Abort), "day"))
	case r.Noncurrent > 0:
		return fmt.Sprintf("older versions%s expire %s after a newer one", where, plain.Count(int64(r.Noncurrent), "day"))
	}
	return fmt.Sprintf("what lies%s expires after %s", where, plain.Count(int64(r.Expire), "day"))
}

func (c *cli) showFunctions(f deployment.Facts) {
	c.section("Functions, each with a role of its own that may do what is listed, and log")
	for _, n := range f.Functions {
		reserved := ""
		if n.Reserved > 0 {
			reserved = fmt.Sprintf(", %d reserved", n.Reserved)
		}
		c.item("%-8s %s (%d MiB, %s%s)", n.Name, n.Says, n.Memory, n.Timeout, reserved)
		for _, may := range n.May {
			c.item("%-8s - %s", "", may)
		}
	}
	c.section("Workflows of Step Functions")
	for _, w := range f.Workflows {
		c.item("%-8s %s; calls %s", w.Name, w.Says, strings.Join(w.Functions, ", "))
	}
}

func (c *cli) showSchedules(all []deployment.Schedule) {
	c.section("Schedules")
	if len(all) == 0 {
		c.item("none: backups run when somebody asks")
	}
	for _, s := range all {
		late := ""
		if s.Window > 0 {
			late = ", at most " + s.Window.String() + " late"
		}
		zone := " in " + s.Zone
		if len(s.Next) == 0 && strings.HasPrefix(s.Expression, "rate") {
			zone = ""
		}
		c.item("%s: %s%s%s", s.Says, s.When, zone, late)
		var next []string
		for _, at := range s.Next {
			next = append(next, at.Format("Mon 2006-01-02 15:04 MST"))
		}
		if len(next) > 0 {
			c.item("  next: %s", strings.Join(next, ", "))
		} else if strings.HasPrefix(s.Expression, "cron") {
			c.item("  next: never within nine years")
		}
	}
}

// showPeople shows who may ask for something, and who hears of it.
func (c *cli) showPeople(f deployment.Facts) {
	c.section("HTTP API")
	for _, e := range f.APIs {
		c.item("%s: %s", e.API, strings.Join(e.Keys, ", "))
		c.item("  %s", e.Who)
	}
	c.section("Who hears of what")
	c.item("mail: %s", f.Mail)
	if f.Webhook {
		c.item("webhook: hears of every run, signed")
	}
	told := strings.Join(f.Told, ", ")
	if told == "" {
		told = "nobody (deploy: {alarms: […]})"
	}
	c.item("alarms, to %s:", told)
	for _, a := range f.Alarms {
		c.item("  %-14s %s", a.ID, a.Says)
	}
	if f.Budget > 0 {
		c.item("budget: $%d a month, of what has the tag lifeboat:stack", f.Budget)
	}
	c.item("queues that keep for two weeks, until somebody looks:")
	for _, q := range f.Queues {
		c.item("  %-20s %s", q.ID, q.Says)
	}
}

func (c *cli) showSecrets(f deployment.Facts) {
	c.section("Keys and secrets that are made, and outlive the stack")
	for _, k := range f.Keys {
		if k.ARN == "" {
			c.item("KMS key: %s", k.Says)
		}
	}
	for _, s := range f.Secrets {
		if s.Reference == "" {
			c.item("secret: %s", s.Says)
		}
	}
	c.section("Keys and secrets that must be there")
	none := true
	for _, k := range f.Keys {
		if k.ARN != "" {
			c.item("%s: %s", k.ARN, k.Says)
			none = false
		}
	}
	for _, s := range f.Secrets {
		if s.Reference != "" {
			c.item("%s: %s", s.Reference, s.Says)
			none = false
		}
	}
	if none {
		c.item("none")
	}
}
