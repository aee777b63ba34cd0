// Command mirrord runs a program on this machine as if it ran inside a pod.
package main

import (
	"os"

	"mirrord/launcher/cmd"
)

func main() { cmd.Main(os.Args[1:]).Exit() }
