package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
)

// goal is a Zipline that restores go to: a stand-in with its datasource, which notes what it is asked.
type goal struct {
	*standin.Server
	url    string
	folder string

	mutex sync.Mutex
	asked []string                                   // method and path of each request, but for the tests' own
	fault func(n int, r *http.Request) standin.Fault // n counts like asked; nil: nothing goes wrong
}

// own marks the requests of the tests themselves.
const own = "lifeboat's tests"

// goal adds a Zipline to the place's targets. What options leave out is as in an empty one that never refuses requests
// for their number, with its files in a folder of the target's name.
func (p *place) goal(name string, options standin.Options) *goal {
	p.Helper()
	g := &goal{folder: p.path(name)}
	if err := os.MkdirAll(g.folder, 0o755); err != nil {
		p.Fatal(err)
	}
	options.Datasource, options.Fault = g.folder, g.note
	options.Storage = standin.Storage{Total: 1 << 40, Available: 1 << 40}
	g.Server = standin.New(options)
	listening := httptest.NewServer(g.Server)
	p.Cleanup(listening.Close)
	g.url = listening.URL
	p.addTarget(fmt.Sprintf("%s: {kind: zipline, url: %q, token: file:./token, datasource: ./%s}", name, g.url, name))
	return g
}

// addTarget adds a line to the targets of lifeboat.yaml.
func (p *place) addTarget(line string) {
	p.Helper()
	config := string(p.read("lifeboat.yaml"))
	if !strings.Contains(config, "\ntargets:\n") {
		config += "targets:\n"
	}
	p.write("lifeboat.yaml", config+"  "+line+"\n")
}

// empty is an empty Zipline with an administrator of this name.
func empty(admin string) standin.Options { return standin.Options{Admin: admin, NoRateLimits: true} }

func (g *goal) note(_ int, r *http.Request) standin.Fault {
	if r.Header.Get("User-Agent") == own {
		return standin.Fault{}
	}
	g.mutex.Lock()
	g.asked = append(g.asked, r.Method+" "+r.URL.Path)
	n, fault := len(g.asked), g.fault
	g.mutex.Unlock()
	if fault == nil {
		return standin.Fault{}
	}
	return fault(n, r)
}

// faulty makes requests from the next one on fail as a function says.
func (g *goal) faulty(fault func(n int, r *http.Request) standin.Fault) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.asked, g.fault = nil, fault
}

// changes returns the requests that are no questions.
func (g *goal) changes() []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(g.asked), func(line string) bool {
		return strings.HasPrefix(line, "GET ") || strings.HasPrefix(line, "HEAD ")
	})
}

// untouched fails when anything was asked of the Zipline but questions, or anything lies in its datasource.
func (g *goal) untouched(t *testing.T) {
	t.Helper()
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("the target was asked: %v", changes)
	}
	if entries, err := os.ReadDir(g.folder); err != nil || len(entries) > 0 {
		t.Errorf("in the target's datasource: %v %v", entries, err)
	}
}

// do asks the Zipline with the SUPERADMIN's token, and decodes the answer into a pointer, where there is one.
func (g *goal) do(t *testing.T, method, path string, body, into any) {
	t.Helper()
	var encoded bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&encoded).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, &encoded)
	r.Header.Set("User-Agent", own)
	r.Header.Set("Authorization", standin.SuperAdminToken)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer := httptest.NewRecorder()
	g.ServeHTTP(answer, r)
	if answer.Code/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}

// rows returns the Zipline's rows as its own export has them.
func (g *goal) rows(t *testing.T) instanceRows {
	t.Helper()
	var e struct{ Data instanceRows }
	g.do(t, http.MethodGet, "/api/server/export", nil, &e)
	return e.Data
}

// raw returns the Zipline's rows as text, without what an export itself adds.
func (g *goal) raw(t *testing.T) string {
	t.Helper()
	var e struct{ Data json.RawMessage }
	g.do(t, http.MethodGet, "/api/server/export", nil, &e)
	return string(e.Data)
}

// instanceRows are those of an export that can be compared between two Ziplines, read without lifeboat's own reader.
type instanceRows struct {
	Users []struct {
		ID, Username, Role, CreatedAt string
		Password, TOTPSecret, Avatar  *string
		View                          any
	}
	UserPasskeys []struct{ Name, UserID string }
	UserQuotas   []struct {
		FilesQuota, UserID string
		MaxBytes           *string
		MaxFiles, MaxURLs  *int
	}
	UserOauthProviders []struct{ Provider, OauthID, Username, UserID string }
	UserTags           []struct {
		Name, Color, UserID string
		Files               []string
	}
	Invites []struct {
		Code, InviterID string
		Uses            int
		MaxUses         *int
		ExpiresAt       *string
	}
	Folders []struct {
		ID, Name, UserID, CreatedAt string
		Public, AllowUploads        bool
		ParentID                    *string
	}
	URLs []struct {
		Code, Destination, CreatedAt string
		Vanity, Password, UserID     *string
		Views                        int
		MaxViews                     *int
		Enabled                      bool
	}
	Files []struct {
		ID, Name, Type, CreatedAt         string
		Size, Views                       int64
		MaxViews                          *int
		OriginalName, DeletesAt, Password *string
		UserID, FolderID                  *string
		Favorite                          bool
	}
	Thumbnails []json.RawMessage
	Metrics    []struct {
		CreatedAt string
		Data      any
	}
	Settings map[string]any
}

func text[T any](p *T) string {
	if p == nil {
		return "null"
	}
	return fmt.Sprint(*p)
}

// paths returns the path of each folder, with its owner, by id.
func (r instanceRows) paths(users map[string]string) map[string]string {
	names, parents, all := map[string]string{}, map[string]string{}, map[string]string{}
	for _, f := range r.Folders {
		names[f.ID], parents[f.ID] = f.Name, text(f.ParentID)
	}
	for _, f := range r.Folders {
		path := f.Name
		for up, depth := parents[f.ID], 0; names[up] != "" && depth < 100; up, depth = parents[up], depth+1 {
			path = names[up] + " > " + path
		}
		all[f.ID] = users[f.UserID] + ": " + path
	}
	return all
}

func (r instanceRows) users() map[string]string {
	users := map[string]string{}
	for _, u := range r.Users {
		users[u.ID] = u.Username
	}
	return users
}

// tables returns what the rows say, by table and natural key, without ids and what no import keeps. nobody is who
// stands for the owner of what has none.
func (r instanceRows) tables(nobody string) map[string][]string {
	all, users := map[string][]string{}, r.users()
	folders, tagged := r.paths(users), map[string][]string{}
	owner := func(id *string) string {
		if id == nil {
			return nobody
		}
		return users[*id]
	}
	add := func(table, format string, values ...any) {
		all[table] = append(all[table], fmt.Sprintf(format, values...))
	}
	for _, t := range r.UserTags {
		add("tags", "%s of %s %s", t.Name, users[t.UserID], t.Color)
		for _, id := range t.Files {
			tagged[id] = append(tagged[id], t.Name)
		}
	}
	for _, f := range r.Folders {
		add("folders", "%s public=%t uploads=%t %s", folders[f.ID], f.Public, f.AllowUploads, f.CreatedAt)
	}
	for _, f := range r.Files {
		slices.Sort(tagged[f.ID])
		add("files", "%q %s in %s of %s: %q %d %s views=%d/%s until=%s password=%s favorite=%t %s tags=%q", f.Name, f.Type, folders[text(f.FolderID)], owner(f.UserID),
			text(f.OriginalName), f.Size, f.CreatedAt, f.Views, text(f.MaxViews), text(f.DeletesAt), text(f.Password), f.Favorite, "", tagged[f.ID])
	}
	for _, u := range r.URLs {
		add("urls", "%s %s of %s → %s views=%d/%s password=%s enabled=%t %s", u.Code, text(u.Vanity), owner(u.UserID), u.Destination, u.Views, text(u.MaxViews), text(u.Password), u.Enabled, u.CreatedAt)
	}
	for _, i := range r.Invites {
		add("invites", "%s of %s %d/%s until %s", i.Code, users[i.InviterID], i.Uses, text(i.MaxUses), text(i.ExpiresAt))
	}
	for _, u := range r.Users {
		add("users", "%s %s %s totp=%s password=%s", u.Username, u.Role, u.CreatedAt, text(u.TOTPSecret), text(u.Password))
	}
	for _, q := range r.UserQuotas {
		add("quotas", "%s %s %s/%s/%s", users[q.UserID], q.FilesQuota, text(q.MaxBytes), text(q.MaxFiles), text(q.MaxURLs))
	}
	for _, k := range r.UserPasskeys {
		add("passkeys", "%s of %s", k.Name, users[k.UserID])
	}
	for _, o := range r.UserOauthProviders {
		add("oauth", "%s %s of %s", o.Provider, o.OauthID, users[o.UserID])
	}
	for _, m := range r.Metrics {
		add("metrics", "%s", m.CreatedAt)
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// exportRows reads an export of the fixtures.
func exportRows(t *testing.T, data []byte) instanceRows {
	t.Helper()
	var e struct{ Data instanceRows }
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e.Data
}

// inside runs a command in this process: it is much faster, and nothing waits for a rate limit. The paths that it
// names must be absolute.
func (p *place) inside(args ...string) result {
	p.Helper()
	var out, errs bytes.Buffer
	c := &cli{in: strings.NewReader(""), out: &out, err: &errs, jitter: func() float64 { return 0 }, sleep: hurry}
	c.zipline = zipline.Options{Timeout: 20 * time.Second, ExportTimeout: 20 * time.Second, IdleTimeout: 20 * time.Second}
	args = append([]string{"-c", p.path("lifeboat.yaml")}, args...)
	return result{T: p.T, args: args, code: c.main(args), out: out.String(), err: errs.String()}
}

// hurry waits at most a moment.
func hurry(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(d, time.Millisecond)):
		return nil
	}
}

// restoreOf restores, and returns what the command says of it to robots.
func (p *place) restoreOf(code int, args ...string) restoreMessage {
	p.Helper()
	return p.inside(append([]string{"restore", "--json", "-q"}, args...)...).exits(code).restored()
}

// restored returns the message of a restore.
func (r result) restored() restoreMessage {
	r.Helper()
	for line := range strings.Lines(r.out) {
		var m restoreMessage
		if json.Unmarshal([]byte(line), &m) == nil && m.Type == "restore" {
			return m
		}
	}
	r.Fatalf("lifeboat %s says nothing of a restore:\n%s%s", strings.Join(r.args, " "), r.out, r.err)
	return restoreMessage{}
}

// named returns the kinds and items of findings, sorted.
func named(findings []finding) []string {
	all := []string{}
	for _, f := range findings {
		all = append(all, strings.TrimSpace(f.Kind+" "+f.Item))
	}
	slices.Sort(all)
	return all
}

// recorded is a place with the recorded instance and a backup of it, made once and copied.
func recorded(t *testing.T) (folder string, p *place) {
	t.Helper()
	folder, p = fixture(t)
	p.backed()
	return folder, p
}

// backed makes a backup of photos, and keeps the vault's server for the commands that follow.
func (p *place) backed() {
	p.Helper()
	p.inside("backup", "photos", "-q").exits(0)
	_, done := p.client()
	p.Cleanup(done)
}

// holdsFiles fails unless the folder has exactly the files of the list, as sha256sum writes it, but for thumbnails.
func (p *place) holdsFiles(list, folder string) {
	p.Helper()
	data, err := os.ReadFile(list)
	if err != nil {
		p.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if name = filepath.Base(name); !strings.HasPrefix(name, ".thumbnail.") {
			want[name] = sum
		}
	}
	if diff := cmp.Diff(want, sums(p.T, folder)); diff != "" || len(want) != 62 {
		p.Errorf("%d files (-want +got):\n%s", len(want), diff)
	}
}

// sameTables compares all that an import keeps of two Ziplines, but for the named tables.
func sameTables(t *testing.T, want, got map[string][]string, but ...string) {
	t.Helper()
	want, got = maps.Clone(want), maps.Clone(got)
	for _, table := range but {
		delete(want, table)
		delete(got, table)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want["files"]) == 0 {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// around returns every path below a folder with what it is: its content, its link, or that it is a folder.
func around(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ = filepath.Rel(folder, name)
		switch {
		case entry.IsDir():
			all[name] = "folder"
		case entry.Type()&fs.ModeSymlink != 0:
			all[name], err = os.Readlink(filepath.Join(folder, name))
		default:
			var data []byte
			data, err = os.ReadFile(filepath.Join(folder, name))
			all[name] = fmt.Sprintf("%d bytes %.40q", len(data), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// victim is a process that an answer of a server stops: the server may be asked before the test has the process.
type victim struct {
	started chan struct{}
	cmd     *exec.Cmd
}

func (p *place) victim(args ...string) *victim {
	return &victim{make(chan struct{}), p.command(args...)}
}

// signal sends s, once the process is started.
func (v *victim) signal(s os.Signal) {
	<-v.started
	_ = v.cmd.Process.Signal(s)
}

// run runs the process to its end, and returns what it wrote to standard error.
func (v *victim) run(t *testing.T) string {
	t.Helper()
	var said bytes.Buffer
	v.cmd.Stderr = &said
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	close(v.started)
	_ = v.cmd.Wait()
	return said.String()
}

// killed runs the process, which has to be killed.
func (v *victim) killed(t *testing.T) {
	t.Helper()
	if said := v.run(t); v.cmd.ProcessState.Exited() {
		t.Fatalf("it ended by itself, with %d: %s", v.cmd.ProcessState.ExitCode(), said)
	}
}
