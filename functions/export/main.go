// Command export is the function that begins a backup, stores the documents and the list of objects, and plans the packs.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("export")
	lambdafn.Start("export", world.Backup)
}
