// Command start is the function that schedules call: it starts backups, and watches that there are some.
package main

import "lifeboat/internal/lambdafn"

func main() {
	world := lambdafn.NewWorld("start")
	lambdafn.Start("start", world.Schedule)
}
