// Command notify is the function that tells people how a backup or a restore ended.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("notify")
	lambdafn.Start("notify", world.Notify)
}
