// Command restore is the function that checks what is restored and writes it to its target.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("restore")
	lambdafn.Start("restore", world.Restore)
}
