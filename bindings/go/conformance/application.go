// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"safestart"
)

// application is what the conformance program does with its nodes, by the script that it is given.
type application struct {
	prepareScript, restartScript atomic.Value
	later                        atomic.Bool // the next prepare is left open

	made, retired, usedAfterRetire, madeSets, retiredSets, told, heartbeat atomic.Int64
}

// connection is the object of a node.
type connection struct {
	number int64
	closed atomic.Bool
}

func (c *connection) Close() error {
	if c.closed.Swap(true) {
		app.usedAfterRetire.Add(1)
	}
	app.retired.Add(1)
	return nil
}

// set is the object of a generation.
type set struct{ number int64 } // not empty: pointers to empty structs are all the same

func (*set) Close() { app.retiredSets.Add(1) }

func (a *application) script(prepare, restart string) {
	a.prepareScript.Store(prepare)
	a.restartScript.Store(restart)
}

func (a *application) prepare(ctx context.Context, run *safestart.Run) error {
	script := a.prepareScript.Load().(string)
	if words, thrown := strings.CutPrefix(script, "throw:"); thrown {
		return errors.New(words)
	}
	if script == "crash" {
		var nothing *int
		*nothing = 1
	}
	changes, err := run.Changes()
	if err != nil {
		return err
	}
	rejected, _ := strings.CutPrefix(script, "reject:")
	for _, change := range changes {
		if change.ID == rejected {
			err = errors.Join(err, run.Reject(change.ID, "not this one"))
		} else if change.Kind != safestart.Removed {
			err = errors.Join(err, run.SetNodeData(change.ID, &connection{number: a.made.Add(1)}))
		}
	}
	err = errors.Join(err, run.SetData(&set{number: a.madeSets.Add(1)}))
	if script == "hang" {
		<-ctx.Done()
		a.told.Add(1)
	}
	if a.later.Swap(false) {
		select {}
	}
	return err
}

func (a *application) restart(_ context.Context, run *safestart.Run) error {
	script := a.restartScript.Load().(string)
	if words, thrown := strings.CutPrefix(script, "throw:"); thrown {
		return errors.New(words)
	}
	if number, sets := strings.CutPrefix(script, "status:"); sets {
		status, _ := strconv.Atoi(number)
		return run.SetStatus(status)
	}
	return nil
}

// use is what a request does with a node's object: its number, or nil.
func (a *application) use(data any) any {
	c, ok := data.(*connection)
	if !ok {
		return nil
	}
	if c.closed.Load() {
		a.usedAfterRetire.Add(1)
	}
	return c.number
}

func (a *application) beat() {
	for range time.Tick(10 * time.Millisecond) {
		a.heartbeat.Add(1)
	}
}

func (a *application) counts() answer {
	resident, threads := 0, 0
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "VmRSS:" {
			resident, _ = strconv.Atoi(fields[1])
		} else if len(fields) > 1 && fields[0] == "Threads:" {
			threads, _ = strconv.Atoi(fields[1])
		}
	}
	descriptors, _ := os.ReadDir("/proc/self/fd")
	return answer{"made": a.made.Load(), "retired": a.retired.Load(), "used_after_retire": a.usedAfterRetire.Load(),
		"made_sets": a.madeSets.Load(), "retired_sets": a.retiredSets.Load(), "told": a.told.Load(), "heartbeat": a.heartbeat.Swap(0),
		"threads": threads, "descriptors": len(descriptors), "rss_kib": resident}
}
