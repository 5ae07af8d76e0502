package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/app"
	"lifeboat/internal/config"
	"lifeboat/internal/deployment"
	"lifeboat/internal/doctor"
	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
	"lifeboat/internal/plain"
	"lifeboat/internal/setup"
)

func (c *cli) doctorCommand() *cobra.Command {
	var store bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether backups and restores would work, before one runs",
		Long: `Check the configuration, reach every source with the permission that a backup needs, list every
datasource and read from it, ask every target with the permission that a restore needs and look whether
its files can be written, write, read and delete in the vault, read the record of every backup, greet the
mail server, compare clocks, and list what interrupted runs left. Each finding says what to do next.

Exit code: 0 without trouble, else that of the worst.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context(), store) },
	}
	cmd.Flags().BoolVar(&store, "probe-store", false, "ask the vault's store for what archives are made of; writes 18 MiB and removes them")
	return cmd
}

// findingMessage is what robots get of each finding.
type findingMessage struct {
	Type string `json:"message_type"`
	doctor.Finding
	Kind string `json:"kind,omitempty"`
}

func (c *cli) doctor(ctx context.Context, store bool) error {
	var all []doctor.Finding
	report := func(f doctor.Finding) {
		all = append(all, f)
		c.showFinding(f)
	}
	cfg, err := config.Load(c.configFile)
	odd, deployErr := deployment.Check(c.configFile)
	if err != nil {
		if _, several := errors.AsType[*config.Error](deployErr); several {
			err = deployErr // it has what is wrong with the rest, too
		}
		for _, f := range configFindings(c.configFile, err) {
			report(f)
		}
		return c.diagnosis(all)
	}
	report(doctor.Finding{Check: "config", Subject: cfg.File, Level: doctor.OK, Message: configured(cfg)})
	for _, w := range cfg.Warnings {
		report(doctor.Finding{Check: "config", Subject: w.At(cfg.File), Level: doctor.Warning, Message: w.Message})
	}
	for _, w := range odd {
		report(doctor.Finding{Check: "deploy", Subject: cfg.File, Level: doctor.Warning, Message: w})
	}
	if deployErr != nil {
		for _, f := range configFindings(c.configFile, deployErr) {
			f.Check = "deploy" // the file is good for this machine
			report(f)
		}
	}
	patient, done := c.patient(ctx, cfg)
	defer done()
	patient.Store = store
	doctor.Examine(ctx, patient, report)
	return c.diagnosis(all)
}

// configured counts what the configuration names.
func configured(cfg *config.Config) string {
	text := plain.Count(int64(len(cfg.Sources)), "source")
	if n := len(cfg.Targets); n > 0 {
		text += ", " + plain.Count(int64(n), "target")
	}
	return text
}

// configFindings makes one finding of each problem of the configuration.
func configFindings(file string, err error) []doctor.Finding {
	problems, ok := errors.AsType[*config.Error](err)
	if !ok {
		return []doctor.Finding{{Check: "config", Subject: file, Level: doctor.Trouble, Message: err.Error(), Hint: failure.HintOf(err), Kind: failure.KindOf(err)}}
	}
	var found []doctor.Finding
	for _, p := range problems.Problems {
		check := "config"
		if strings.HasPrefix(p.Message, "deploy.") {
			check = "deploy"
		}
		found = append(found, doctor.Finding{
			Check: check, Subject: fmt.Sprintf("%s:%d", file, p.Line), Level: doctor.Trouble, Message: p.Message,
			Hint: cmp.Or(p.Hint, "mend this line"), Kind: failure.Usage,
		})
	}
	return found
}

// patient opens what can be opened; what can't is a finding of its own.
func (c *cli) patient(ctx context.Context, cfg *config.Config) (doctor.Patient, func()) {
	p := doctor.Patient{Now: time.Now}
	sources := &setup.Sources{Config: cfg}
	for _, s := range cfg.Sources {
		p.Sources = append(p.Sources, examined(ctx, sources, s))
	}
	targets := &setup.Targets{Config: cfg, Zipline: c.ziplineTarget()}
	for _, t := range cfg.Targets {
		p.Targets = append(p.Targets, examinedTarget(targets, t))
	}
	done := func() {}
	if s, err := c.openWith(ctx, cfg); err != nil {
		p.VaultErr = err
	} else {
		p.Vault, p.Stale = s.vault, stale
		p.Signer = func() (string, error) {
			_, err := s.signer()
			return fmt.Sprintf("the signing key is in %s", s.ring().Folder), err
		}
		done = func() { s.close() }
	}
	if cfg.Mail != nil && cfg.Mail.SMTP != "" {
		p.Greet = func(ctx context.Context) error {
			address, err := cfg.Mail.SMTP.Resolve()
			if err != nil {
				return err
			}
			smtp, err := notify.NewSMTP(address)
			if err != nil {
				return err
			}
			return smtp.Greet(ctx)
		}
	}
	return p, done
}

// prober is an adapter that can ask its application whether a backup would be allowed.
type prober interface {
	Probe(ctx context.Context) (string, error)
}

func examined(ctx context.Context, sources *setup.Sources, s config.Source) doctor.Source {
	out := doctor.Source{Name: s.Name}
	var source app.Source
	if source, _, out.Err = sources.Open(ctx, s.Name); out.Err != nil {
		out.Err = unnamed(out.Err, fmt.Sprintf("source %s: ", s.Name))
		if s.Kind != "zipline" { // of which the token alone may be at fault
			return out
		}
	}
	if p, ok := source.(prober); ok {
		out.Probe = p.Probe
	}
	if s.Kind == "linkding" { // whose data folder is more than files
		return out
	}
	there, err := setup.Datasource(ctx, string(s.Name), s.Datasource)
	if err == nil {
		out.Datasource = there
	}
	out.Err = cmp.Or(out.Err, err)
	return out
}

// unnamed returns an error without the name of its source, which the finding has already.
func unnamed(err error, prefix string) error {
	if inner := errors.Unwrap(err); inner != nil && err.Error() == prefix+inner.Error() {
		return inner
	}
	return err
}

func examinedTarget(targets *setup.Targets, t config.Target) doctor.Target {
	out := doctor.Target{Name: t.Name}
	out.Probe, out.Err = targets.Prober(t)
	out.Place = func(ctx context.Context) (message, hint string, err error) { return setup.LookAt(ctx, t) }
	return out
}

func (c *cli) showFinding(f doctor.Finding) {
	m := findingMessage{Type: "finding", Finding: f}
	if f.Level == doctor.Trouble {
		m.Kind = f.Kind.String()
	}
	c.message(m)
	subject := ""
	if f.Subject != "" {
		subject = plain.Text(f.Subject) + ": "
	}
	c.say("%-8s %-10s %s%s", f.Level, f.Check, subject, plain.Text(f.Message))
	if f.Hint != "" {
		c.say("%19s → %s", "", plain.Text(f.Hint))
	}
}

// diagnosis ends the examination.
func (c *cli) diagnosis(all []doctor.Finding) error {
	trouble, warnings := 0, 0
	for _, f := range all {
		switch f.Level {
		case doctor.Trouble:
			trouble++
		case doctor.Warning:
			warnings++
		}
	}
	c.message(struct {
		Type     string `json:"message_type"`
		OK       bool   `json:"ok"`
		Trouble  int    `json:"trouble"`
		Warnings int    `json:"warnings"`
	}{"doctor", trouble == 0, trouble, warnings})
	c.say("%s, %d trouble, %d %s", count(len(all), "check"), trouble, warnings, plural(warnings, "warning"))
	if f, found := doctor.Worst(all); found {
		return failure.New(f.Kind, "%d of %d checks found trouble; the worst is %s: %s", trouble, len(all), strings.TrimSpace(f.Check+" "+f.Subject), f.Message).
			WithHint("%s", f.Hint)
	}
	return nil
}
