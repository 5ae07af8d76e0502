package linkding

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// library is what a whole database of linkding says about itself and about its files.
type library struct {
	facts      app.Facts
	assets     map[string][]*asset // complete ones, by the name of their file: two may share one
	unfinished int64               // assets that are pending or have failed: they have no file
	favicons   map[string]bool     // names in bookmarks; true once the file is found
	previews   map[string]bool
	lacking    []app.Finding // tables that are not there
	references []app.Finding // to rows that are not there
}

// asset is a complete row of bookmarks_bookmarkasset.
type asset struct {
	size int64 // -1: not known
	gzip bool
	seen bool
}

// inspect checks a copy of a database, which is nobody else's, and reads it. It leaves the copy in journal mode
// DELETE. errNotSQLite, errEmpty and errForeign say what it is instead of linkding's; Corrupt: it is damaged.
func inspect(ctx context.Context, path string) (*library, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	// What a stranger's schema calls (checks, defaults) may not have side effects.
	conn, closeAll, err := connect(ctx, dsn(path, "mode=rw&_pragma=trusted_schema(OFF)&_pragma=cell_size_check(ON)&_pragma=synchronous(OFF)"))
	if err != nil {
		return nil, err
	}
	defer closeAll()
	r := &reader{ctx: ctx, conn: conn}
	if err := r.settle(); err != nil {
		return nil, err
	}
	tables, err := r.tables()
	if err != nil {
		return nil, err
	}
	l, err := r.library(tables)
	if err != nil {
		return nil, err
	}
	if l.references, err = r.references(tables); err != nil {
		return nil, err
	}
	l.facts.Digest, err = r.digest(tables)
	return l, err
}

// checkFile looks at a copy before SQLite does.
func checkFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the copy of linkding's database: %w", err)
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil && size == 0 {
		return errEmpty
	}
	return checkMagic(file)
}

// reader asks one connection.
type reader struct {
	ctx  context.Context
	conn *sql.Conn
}

// table is an ordinary table and its columns, in the order of the schema.
type table struct {
	columns []string
	key     []string // the primary key, in its order
}

func (t table) has(column string) bool {
	return slices.Contains(t.columns, column)
}

// settle makes the copy one file and checks it whole.
func (r *reader) settle() error {
	if _, err := r.texts("PRAGMA journal_mode=DELETE"); err != nil {
		return err
	}
	said, err := r.texts("PRAGMA integrity_check(3)")
	if err != nil {
		return err
	}
	if len(said) != 1 || said[0] != "ok" {
		return failure.New(failure.Corrupt, "linkding's database is damaged: integrity_check says %q", strings.Join(said, "; ")).WithHint(hintDamaged)
	}
	return nil
}

// texts returns the first column of a question's answer.
func (r *reader) texts(question string, args ...any) ([]string, error) {
	var all []string
	err := r.rows(question, args, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		all = append(all, text)
		return nil
	})
	return all, err
}

// rows calls each for every row of the answer.
func (r *reader) rows(question string, args []any, each func(scan func(...any) error) error) error {
	rows, err := r.conn.QueryContext(r.ctx, question, args...)
	if err != nil {
		return fault(r.ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return fault(r.ctx, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fault(r.ctx, err)
	}
	return nil
}

// tables returns the ordinary tables but SQLite's own: no views, no virtual tables. No table at all is errEmpty.
func (r *reader) tables() (map[string]table, error) {
	names, err := r.texts(`SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errEmpty
	}
	tables := map[string]table{}
	for _, name := range names {
		var t table
		if t.columns, err = r.texts(`SELECT name FROM pragma_table_info(?) ORDER BY cid`, name); err != nil {
			return nil, err
		}
		if t.key, err = r.texts(`SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk`, name); err != nil {
			return nil, err
		}
		tables[name] = t
	}
	return tables, nil
}

// counted are the tables whose rows are counted. Old schemas lack some.
var counted = []struct{ name, table string }{
	{"bookmarks", "bookmarks_bookmark"},
	{"tags", "bookmarks_tag"},
	{"users", "auth_user"},
	{"assets", "bookmarks_bookmarkasset"},
	{"bundles", "bookmarks_bookmarkbundle"},
}

// library reads what a snapshot needs; errForeign when the tables are not linkding's.
func (r *reader) library(tables map[string]table) (*library, error) {
	migrations, bookmarks := tables["django_migrations"], tables["bookmarks_bookmark"]
	if !migrations.has("app") || !migrations.has("name") || !bookmarks.has("url") {
		return nil, errForeign
	}
	// The names begin with a number of four digits; the order in which they were applied may differ.
	applied, err := r.texts(`SELECT CAST(name AS TEXT) FROM django_migrations WHERE app = 'bookmarks' ORDER BY name DESC LIMIT 1000`)
	if err != nil {
		return nil, err
	}
	if len(applied) == 0 {
		return nil, errForeign
	}
	l := &library{facts: app.Facts{
		Application: "linkding", // its version stands nowhere in the data folder
		Versions:    map[string]string{"schema": "bookmarks." + applied[0]},
		Counts:      map[string]int64{},
		Secrets:     true, // password hashes, tokens, sessions
	}, lacking: lacking(tables, applied)}
	for _, c := range counted {
		if tables[c.table].columns == nil {
			continue
		}
		err := r.rows("SELECT count(*) FROM "+quote(c.table), nil, func(scan func(...any) error) error {
			var n int64
			err := scan(&n)
			l.facts.Counts[c.name] = n
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if l.favicons, err = r.names(bookmarks, "favicon_file"); err != nil {
		return nil, err
	}
	if l.previews, err = r.names(bookmarks, "preview_image_file"); err != nil {
		return nil, err
	}
	return l, r.assets(tables["bookmarks_bookmarkasset"], l)
}

// names returns the names of files that bookmarks have in a column, which older schemas lack.
func (r *reader) names(bookmarks table, column string) (map[string]bool, error) {
	names := map[string]bool{}
	if !bookmarks.has(column) {
		return names, nil
	}
	all, err := r.texts("SELECT DISTINCT CAST(" + column + " AS TEXT) FROM bookmarks_bookmark WHERE " + column + " <> ''")
	for _, name := range all {
		names[name] = false
	}
	return names, err
}

// assets reads the rows of assets; the table and its column file_size are younger than other parts.
func (r *reader) assets(t table, l *library) error {
	l.assets = map[string][]*asset{}
	if !t.has("file") || !t.has("status") {
		return nil
	}
	optional := func(column, otherwise string) string {
		if t.has(column) {
			return "ifnull(CAST(" + column + " AS INTEGER), " + otherwise + ")"
		}
		return otherwise
	}
	question := "SELECT ifnull(CAST(file AS TEXT), ''), ifnull(CAST(status AS TEXT), ''), " +
		optional("file_size", "-1") + ", " + optional("gzip", "0") + " FROM bookmarks_bookmarkasset"
	return r.rows(question, nil, func(scan func(...any) error) error {
		var file, status string
		var size, zipped int64
		if err := scan(&file, &status, &size, &zipped); err != nil {
			return err
		}
		if status != "complete" {
			l.unfinished++
			return nil
		}
		l.assets[file] = append(l.assets[file], &asset{size: size, gzip: zipped != 0})
		return nil
	})
}

// quote returns an identifier for a statement.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
