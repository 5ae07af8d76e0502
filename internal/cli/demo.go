package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/api"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

func (c *cli) demoCommand() *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it on a stand-in Zipline: back up, download, verify, restore, back up again",
		Long: `Start a stand-in Zipline with a few files on this machine, back it up into an embedded vault, follow
the link of the mail, download the archive, verify it, restore it and compare every byte; then
change two files, back up again, and replay that backup into an empty stand-in. Everything lies below one folder, which is made anew each time.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.demo(cmd.Context(), folder)
		},
	}
	cmd.Flags().StringVar(&folder, "folder", filepath.Join("var", "demo"), "where everything goes")
	return cmd
}

// demoMarker lies in a demo's folder: only what has it is ever removed.
const demoMarker = ".lifeboat-demo"

const demoConfig = `# The configuration of the demo: %s
vault: ./vault
sources:
  photos:
    kind: zipline
    url: %s          # the stand-in; it runs only while the demo does
    token: file:./token
    datasource: ./uploads
    notify: {to: [ops@example.com], on: always}
serve: {listen: %s, public-url: http://%s}
`

// demo is one run of the demo.
type demo struct {
	cli      *cli
	folder   string
	instance *standin.Instance
	session  *session
	address  string // of serve
	steps    int
}

func (c *cli) demo(ctx context.Context, folder string) error {
	if err := freshFolder(folder); err != nil {
		return err
	}
	application, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	links, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		application.Close()
		return fmt.Errorf("listen: %w", err)
	}
	d := &demo{cli: c, folder: folder, instance: standin.Sample(), address: links.Addr().String()}
	ctx, stop := context.WithCancel(ctx)
	serving := make(chan error, 2)
	go func() {
		serving <- api.Serve(ctx, application, standin.New(standin.Options{Export: d.instance.Export}))
	}()
	err = d.prepare(application.Addr().String())
	if err == nil {
		d.session, err = c.demoSession(ctx, folder)
	}
	if err != nil {
		links.Close()
	} else {
		quiet := *c
		quiet.quiet, quiet.json, quiet.out = true, false, io.Discard
		go func() { serving <- quiet.serve(ctx, d.session, links) }()
		err = d.run(ctx)
	}
	stop()
	if d.session != nil {
		err = errors.Join(err, <-serving, d.session.close())
	}
	err = errors.Join(err, <-serving)
	if failure.KindOf(err) == failure.Canceled {
		return failure.New(failure.Canceled, "stopped: the demo is not complete").WithHint("`lifeboat demo` begins anew, in an empty folder")
	}
	return err
}

// freshFolder makes the folder anew; one that no demo made is left as it is.
func freshFolder(folder string) error {
	if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(folder, demoMarker)); err != nil {
			return failure.New(failure.Conflict, "%s is not empty, and no demo made it", folder).WithHint("--folder names another one")
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove the last demo: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("create the demo's folder: %w", err)
	}
	return os.WriteFile(filepath.Join(folder, demoMarker), []byte("made by lifeboat demo; removed by the next one\n"), 0o644)
}

func (c *cli) demoSession(ctx context.Context, folder string) (*session, error) {
	cfg, err := config.Load(filepath.Join(folder, config.FileName))
	if err != nil {
		return nil, err
	}
	return c.openWith(ctx, cfg)
}

// prepare writes the stand-in's uploads, its token and the configuration.
func (d *demo) prepare(application string) error {
	if err := d.instance.WriteUploads(d.path("uploads")); err != nil {
		return err
	}
	text := fmt.Sprintf(demoConfig, d.path(config.FileName), "http://"+application, d.address, d.address)
	return errors.Join(
		os.WriteFile(d.path("token"), []byte(standin.SuperAdminToken+"\n"), 0o600),
		os.WriteFile(d.path(config.FileName), []byte(text), 0o644),
	)
}

func (d *demo) path(name string) string { return filepath.Join(d.folder, name) }

func (d *demo) step(format string, args ...any) {
	d.steps++
	d.cli.say("\n%d. %s", d.steps, fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) error {
	d.step("Back up the stand-in Zipline into the vault %s", d.path("vault"))
	first, err := d.backup(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows(first) {
		if row[1] != "" {
			d.cli.say("   %-12s %s", row[0], row[1])
		}
	}
	d.step("Follow the link of the mail and download the archive")
	file, err := d.download(ctx, first)
	if err != nil {
		return err
	}
	d.step("Verify every byte of %s against its signed manifest", file)
	if err := d.verify(ctx, file); err != nil {
		return err
	}
	restored := d.path("restored")
	d.step("Restore it to %s and compare every byte with the application's", restored)
	compared, err := d.restore(ctx, file, restored)
	if err != nil {
		return err
	}
	changed, err := d.instance.ChangeTwo(d.path("uploads"))
	if err != nil {
		return err
	}
	d.step("Change two files (%s) and back up again", plain.Text(fmt.Sprintf("%q and %q", changed[0], changed[1])))
	second, err := d.backup(ctx)
	if err != nil {
		return err
	}
	d.cli.say("   packed %d of %d objects, %s of %s; the rest was spliced from the first backup's packs",
		second.PackedObjects, second.Objects, plain.Size(second.PackedBytes), plain.Size(second.Bytes))
	if second.PackedObjects != 2 {
		return failure.New(failure.Internal, "%d objects were packed where 2 had changed", second.PackedObjects)
	}
	d.step("Drill: replay it into an empty Zipline that is made for it, read that one again and compare")
	if err := d.drill(ctx, second); err != nil {
		return err
	}
	d.summary(first, second, file, restored, compared)
	return nil
}

// drill restores a backup into a throw-away Zipline.
func (d *demo) drill(ctx context.Context, record catalog.Record) error {
	r, err := d.cli.restorer(d.session)
	if err != nil {
		return err
	}
	starter := starter()
	starter.By = "demo"
	drilled, err := r.run(ctx, events.Restore{
		From: events.From{Backup: string(record.Source) + ":" + string(record.ID)}, To: events.To{Drill: true}, StartedBy: starter,
	})
	if err != nil {
		return err
	}
	if !replay.Proves(drilled) {
		return failure.New(failure.Internal, "the drill ended as %s: %v", drilled.Status, drilled.Problems)
	}
	d.cli.sayConfirmation(drilled.Confirmation)
	return nil
}

// backup runs the backup workflow once.
func (d *demo) backup(ctx context.Context) (catalog.Record, error) {
	r, err := d.cli.runner(d.session, "photos")
	if err != nil {
		return catalog.Record{}, err
	}
	starter := starter()
	starter.By = "demo"
	record, _, err := r.run(ctx, events.Run{ID: backup.NewID(time.Now()), Source: "photos", StartedBy: starter})
	if err == nil && record.Status != backup.Completed {
		err = failure.New(failure.Internal, "the backup ended as %s: %v", record.Status, record.Problems)
	}
	return record, err
}

func (d *demo) verify(ctx context.Context, file string) error {
	image, closer, err := verify.OpenFile(ctx, file)
	if err != nil {
		return err
	}
	defer closer.Close()
	report, err := verify.Whole(ctx, image, verify.Options{Trusted: d.session.trusted()})
	if err != nil {
		return err
	}
	if !report.OK || report.Signature != manifest.Authenticated {
		return failure.New(failure.Corrupt, "%s does not verify: %v", file, report.Problems)
	}
	d.cli.say("   %d entries, %s: every byte matches; the signature is authentic", report.Entries, plain.Size(report.Bytes))
	return nil
}

// restore restores the archive and compares it with the stand-in's files.
func (d *demo) restore(ctx context.Context, file, name string) (int, error) {
	image, closer, err := verify.OpenFile(ctx, file)
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	folder, err := restore.OpenFolder(name, false)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	result, err := folder.Restore(ctx, image, nil)
	if err != nil {
		return 0, err
	}
	if len(result.Problems) > 0 {
		return 0, failure.New(failure.Internal, "the restore had problems: %v", result.Problems)
	}
	compared, err := sameFolders(d.path("uploads"), filepath.Join(name, "uploads"))
	if err != nil {
		return 0, err
	}
	d.cli.say("   %d files restored; %d uploads compared byte by byte: all equal", result.Written, compared)
	return compared, nil
}

// summary is what a person should look at, in ten lines.
func (d *demo) summary(first, second catalog.Record, file, restored string, compared int) {
	c := d.cli
	c.message(struct {
		Type     string        `json:"message_type"`
		Folder   string        `json:"folder"`
		Backups  []backup.ID   `json:"backups"`
		Archive  string        `json:"archive"`
		Compared int           `json:"compared"`
		Packed   int           `json:"packed_again"`
		Proof    backup.Proof  `json:"proof"`
		Status   backup.Status `json:"status"`
	}{"demo", d.folder, []backup.ID{first.ID, second.ID}, file, compared, second.PackedObjects, second.Proof, second.Status})
	c.say("\nAll of it worked. What to look at:")
	c.say("  %-28s the application's files: %s objects, %s", d.path("uploads"), plain.Number(int64(first.Objects)), plain.Size(first.Bytes))
	c.say("  %-28s the mail with the link, one for each backup", d.path("mail"))
	c.say("  %-28s the archive: opens with any ZIP program (unzip -t)", file)
	c.say("  %-28s the restored files: %d compared, all equal", restored, compared)
	c.say("  %-28s the vault: plain files behind a real S3 server", d.path("vault"))
	c.say("  lifeboat -c %s list", d.path(config.FileName))
	c.say("  lifeboat -c %s show %s", d.path(config.FileName), second.ID)
	c.say("  lifeboat -c %s verify %s", d.path(config.FileName), second.ID)
	c.say("Next: lifeboat init, and your own Zipline.")
}

// demoClient follows the link as a person's browser would, but stops at the redirect to look at it.
var demoClient = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
