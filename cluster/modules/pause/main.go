// Pause keeps a pod's namespaces alive: it waits for the end, and reaps children where it is the pod's first process.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	received := make(chan os.Signal, 64)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for one := range received {
		if one != syscall.SIGCHLD {
			os.Exit(0)
		}
		for reaped := 1; reaped > 0; {
			reaped, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
