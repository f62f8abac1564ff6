// Command godiff runs the original ipamd in virtual time and answers JSON lines: see README.md.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	_ "cni-metrics-helper/tools/godiff/before"
)

const usage = `usage: godiff datastore|node

Runs the original ipamd in virtual time. Commands are read from standard input, one JSON object per line, and answered on
standard output; tools/godiff/README.md describes them.`

// A handler answers the commands of one level.
type handler func(name string, argument []byte) (any, error)

func main() {
	// The heap is small and the process short: collecting rarely is a quarter faster.
	debug.SetGCPercent(400)
	level := ""
	if len(os.Args) == 2 {
		level = os.Args[1]
	}
	switch level {
	case "datastore":
		inVirtualTime(func() { serve(newLines(nil), newDatastoreLevel().handle) })
	case "node":
		inVirtualTime(func() {
			level, lines := newNodeLevel()
			serve(lines, level.handle)
		})
	case "-h", "--help":
		fmt.Println(usage)
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}

// inVirtualTime runs body as the first task of a bubble with a virtual clock, and then ends the process: the original's
// tasks never end.
func inVirtualTime(body func()) {
	os.Args = os.Args[:1] // the testing package reads flags
	run := func(t *testing.T) {
		synctest.Test(t, func(*testing.T) {
			wait.NeverStop = make(chan struct{})
			body()
			// Not os.Exit, which package testing refuses with code 0.
			syscall.Exit(0)
		})
	}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "godiff", F: run}}, nil, nil)
}

// began is when the history began. The virtual clock of a process begins in the year 2000.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
