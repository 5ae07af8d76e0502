package linkding

import (
	"database/sql"
	"os"
	"testing"
	_ "modernc.org/sqlite"
)

func TestExp(t *testing.T) {
	dsn := os.Getenv("EXP_DSN")
	db, err := sql.Open("sqlite", dsn)
	if err != nil { t.Fatal(err) }
	db.SetMaxOpenConns(1)
	var n int
	err = db.QueryRow("select count(*) from bookmarks_bookmark").Scan(&n)
	t.Log(n, err)
	var v string
	db.QueryRow("select sqlite_version()").Scan(&v)
	t.Log(v, db.Close())
}
