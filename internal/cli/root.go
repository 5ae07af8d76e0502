// Package cli is the command line: one file per command. It reads the configuration, opens the vault, asks the
// packages below for the work, and says what came of it, to people or, with --json, to robots. Nothing below it
// prints or exits.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/app/zipline"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/progress"
)

// Version is the version of this program.
const Version = "0.1.0"

// cli is one call of the program.
type cli struct {
	in       io.Reader
	out, err io.Writer
	log      *slog.Logger

	configFile string
	stack      string // the name of a deployed stack; "": this machine
	json       bool
	quiet      bool
	verbose    bool

	// What tests make shorter; the zero values are the real ones.
	zipline zipline.Options                                  // its time-outs
	sleep   func(ctx context.Context, d time.Duration) error // of a restore into Zipline
	jitter  func() float64                                   // of the waits between retries, in [0, 1)
}

// Main runs the command line and returns the exit code. The first interrupt stops the work cleanly, the second one
// kills it.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	return (&cli{in: in, out: out, err: errOut}).main(args)
}

func (c *cli) main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := c.root()
	c.json = slices.Contains(args, "--json") // also for what cobra refuses before it reads flags
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return c.fail(stopped(ctx, err))
}

// stopped says of an error that comes of a signal, and that nobody below has put into words, what it is.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil || failure.KindOf(err) != failure.Canceled || failure.HintOf(err) != "" {
		return err
	}
	return failure.New(failure.Canceled, "stopped by a person or the system").WithHint("run the same command again")
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lifeboat",
		Short: "Complete, proven, restorable backups of self-hosted applications",
		Long: `lifeboat backs up an application's metadata and files into one ZIP that opens anywhere,
proves that it has every byte, and restores it.

Start with:
  lifeboat demo              see it work, on a stand-in application
  lifeboat init              write a commented lifeboat.yaml
  lifeboat backup SOURCE     back up`,
		Version:           Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return errors.Join(c.prepare(), c.reaches(cmd)) },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&c.configFile, "config", "c", config.FileName, "configuration file")
	flags.StringVar(&c.stack, "stack", "", "work with a stack in AWS: backup, restore, restores, list, show, link, unlink, download")
	flags.BoolVar(&c.json, "json", false, "write JSON lines for robots")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "no progress")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "log what the steps do, to standard error")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failure.New(failure.Usage, "%w", err).WithHint("`%s --help` shows what there is", cmd.CommandPath())
	})
	root.AddCommand(
		c.initCommand(), c.backupCommand(), c.listCommand(), c.showCommand(), c.filesCommand(), c.getCommand(),
		c.archiveCommand(), c.downloadCommand(), c.linkCommand(), c.unlinkCommand(), c.deleteCommand(), c.pruneCommand(), c.verifyCommand(),
		c.restoreCommand(), c.restoresCommand(), c.migrateCommand(), c.drillCommand(), c.doctorCommand(), c.statusCommand(), c.acceptCommand(), c.serveCommand(), c.demoCommand(), c.keyCommand(), c.configCommand(), c.deployCommand(),
	)
	c.completions(root)
	return root
}

func (c *cli) prepare() error {
	level := slog.LevelError + 4
	if c.verbose {
		level = slog.LevelDebug
	}
	c.log = slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level}))
	return nil
}

// args refuses a wrong number of arguments in our voice.
func args(atLeast, atMost int, usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < atLeast || len(given) > atMost {
			return failure.New(failure.Usage, "%s takes %s", cmd.CommandPath(), usage).
				WithHint("usage: %s", strings.TrimSpace(cmd.UseLine()))
		}
		return nil
	}
}

// partial is the end of a command that worked but found problems.
type partial struct{ message string }

func (p partial) Error() string { return p.message }

// exitPartial is the exit code of a backup or restore with problems.
const exitPartial = 3

// fail says what went wrong and returns the exit code.
func (c *cli) fail(err error) int {
	var p partial
	if errors.As(err, &p) {
		if !c.json {
			fmt.Fprintf(c.err, "lifeboat: warning: %s\n", plain.Text(c.there(p.message)))
		}
		return exitPartial
	}
	kind, hint := failure.KindOf(err), c.there(failure.HintOf(err))
	if isCobraUsage(err) {
		kind, hint = failure.Usage, "`lifeboat --help` shows the commands"
		message, suggestions, _ := strings.Cut(err.Error(), "\n")
		if words := strings.Fields(suggestions); len(words) > 3 { // Did you mean this? a b
			hint = fmt.Sprintf("did you mean %s? %s", strings.Join(words[4:], " or "), hint)
		}
		err = errors.New(message)
	}
	if hint == "" {
		hint = anyHint[kind]
	}
	if c.json {
		c.line(c.err, struct {
			Type    string `json:"message_type"`
			Kind    string `json:"kind"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		}{"error", kind.String(), err.Error(), hint})
		return kind.ExitCode()
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(c.err, "lifeboat: error: %s\n", plain.Text(line))
	}
	if hint != "" {
		fmt.Fprintf(c.err, "lifeboat: hint: %s\n", plain.Text(hint))
	}
	return kind.ExitCode()
}

// anyHint is what to do where nobody who saw the error knows better.
var anyHint = map[failure.Kind]string{
	failure.Usage:     "`lifeboat COMMAND --help` shows what there is",
	failure.NotFound:  "check the name",
	failure.Internal:  "this is most likely a fault of lifeboat: --verbose says more, for a report",
	failure.Transient: "try again in a while",
}

// isCobraUsage recognises what cobra refuses before any code of ours runs.
func isCobraUsage(err error) bool {
	return failure.KindOf(err) == failure.Internal && (strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag"))
}

// say writes a line for people; nothing with --json.
func (c *cli) say(format string, args ...any) {
	if !c.json {
		fmt.Fprintln(c.out, c.there(fmt.Sprintf(format, args...)))
	}
}

// warn writes a warning to standard error: a line for people, or a JSON line for robots. --quiet is about progress
// only.
func (c *cli) warn(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if c.json {
		c.line(c.err, struct {
			Type    string `json:"message_type"`
			Message string `json:"message"`
		}{"warning", message})
		return
	}
	fmt.Fprintf(c.err, "lifeboat: warning: %s\n", plain.Text(message))
}

// message writes a JSON line for robots; nothing without --json.
func (c *cli) message(v any) {
	if c.json {
		c.line(c.out, v)
	}
}

func (c *cli) line(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a closed pipe ends the program elsewhere
}

// reporter shows progress on standard error where a person sees it.
func (c *cli) reporter() *progress.Reporter {
	file, ok := c.err.(*os.File)
	if !ok {
		mode := progress.Plain
		if c.quiet {
			mode = progress.Quiet
		} else if c.json {
			mode = progress.JSON
		}
		return progress.New(c.err, progress.Options{Mode: mode})
	}
	if c.json {
		return progress.New(c.out, progress.Options{Mode: progress.ModeFor(file, true, c.quiet)})
	}
	return progress.New(file, progress.Options{Mode: progress.ModeFor(file, false, c.quiet)})
}
