package archive

import (
	"fmt"

	"lifeboat/internal/backup"
)

// Readme returns the text of lifeboat/README.txt. It becomes part of the signed manifest, so a later version of
// this function changes only later backups.
func Readme(kind string, source backup.Source, id backup.ID) string {
	text := fmt.Sprintf(`This ZIP is a backup of %q, made by lifeboat: %s.

It needs no lifeboat to be read. Unpack it with any ZIP program.
`, source, id)
	switch kind {
	case "zipline":
		text += `
export.json   what Zipline exported: users, folders, files, URLs, tags, invites, settings.
              It holds password hashes, tokens and the server's environment: keep it secret.
uploads/      the files, under the names that Zipline stores them with.
config/       configuration files of the server, if the backup was asked to keep them.

To bring a Zipline back by hand:
1. Copy the content of uploads/ into the datasource of the new server before it starts:
   the folder DATASOURCE_LOCAL_DIRECTORY, or the bucket's prefix.
2. Start it, log in as a super administrator, and import export.json
   (Server settings, Import/Export, Import Zipline v4).
What that import leaves out (ownerless files, folders of equal names, thumbnails, settings)
is in export.json all the same.
`
	case "linkding":
		text += `
db.sqlite3    linkding's database; it holds password hashes and tokens: keep it secret.
assets/       saved pages and uploads; favicons/ and previews/ as linkding had them.

To bring a linkding back by hand: stop it, unpack the ZIP as its empty data folder, start it.
It makes a new secret key: people sign in again.
`
	case "files":
		text += `
files/          the files, by their paths. Bytes that a ZIP's name cannot hold are written as % and two hex digits,
                and so is every %; lifeboat restore gives files their own names and modes back.
files.json      what was backed up; symlinks.jsonl lists symbolic links and their targets, if there were any.
`
	}
	return text + `
lifeboat/backup.json      what this backup is, and the signature of the list of its entries
lifeboat/manifest.jsonl   every entry with size, CRC-32 and SHA-256, one JSON object a line
To check all of it: lifeboat verify FILE.zip
`
}
