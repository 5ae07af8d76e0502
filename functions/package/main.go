// Command package is the function that assembles and seals archives, and cleans up behind runs that failed.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("package")
	lambdafn.Start("package", world.Backup)
}
