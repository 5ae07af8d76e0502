// Command copy is the function that packs one batch of objects.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("copy")
	lambdafn.Start("copy", world.Backup)
}
