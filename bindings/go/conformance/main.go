// SPDX-License-Identifier: LGPL-2.1-or-later

// Command conformance is the Go program that bindings/conformance drives: a command a line on standard
// input, an answer a line on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"safestart"
)

type command struct {
	ID          any               `json:"id"`
	Do          string            `json:"do"`
	Settings    map[string]string `json:"settings"`
	JSON        string            `json:"json"`
	Node        string            `json:"node"`
	Address     string            `json:"address"`
	Incarnation string            `json:"incarnation"`
	Force       bool              `json:"force"`
	Urgent      bool              `json:"urgent"`
	Reason      string            `json:"reason"`
	Ticket      safestart.Ticket  `json:"ticket"`
	TimeoutMS   int               `json:"timeout_ms"`
	CancelAfter *int              `json:"cancel_after_ms"`
	Count       int               `json:"count"`
	Threads     int               `json:"threads"`
	Prepare     string            `json:"prepare"`
	Restart     string            `json:"restart"`
	Code        int               `json:"code"`
	Times       int               `json:"times"`
	How         string            `json:"how"`
}

type answer map[string]any

var (
	app      application
	handle   *safestart.Handle
	printing sync.Mutex
)

func put(id any, with answer, err error) {
	if err != nil {
		code := -int(syscall.EIO)
		var errno syscall.Errno
		if errors.As(err, &errno) {
			code = -int(errno)
		}
		with = answer{"error": code, "message": err.Error()}
	}
	with["id"] = id
	line, err := json.Marshal(with)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

func ticket(t safestart.Ticket, err error) (answer, error) { return answer{"ticket": t}, err }

// outcome waits on a goroutine of its own: commands after it are answered meanwhile.
func outcome(c command) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var cancelled atomic.Int64
	if c.CancelAfter != nil {
		time.AfterFunc(time.Duration(*c.CancelAfter)*time.Millisecond, func() {
			cancelled.Store(time.Now().UnixNano())
			cancel()
		})
	}
	if c.TimeoutMS >= 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	o, err := handle.Wait(ctx, c.Ticket)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		put(c.ID, answer{"timeout": true}, nil)
	case errors.Is(err, context.Canceled):
		put(c.ID, answer{"cancelled": true, "after_ms": (time.Now().UnixNano() - cancelled.Load()) / 1e6}, nil)
	default:
		put(c.ID, answer{"verdict": o.Verdict, "code": -int(o.Errno), "words": o.Message, "run": o.Run, "generation": o.Generation,
			"requests": o.Requests, "status": o.Status}, err)
	}
}

func burst(c command) (answer, error) {
	tickets := map[safestart.Ticket]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range c.Threads {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := i; n < c.Count; n += c.Threads {
				t, _ := handle.Request(0, "")
				mu.Lock()
				tickets[t] = true
				mu.Unlock()
			}
		}()
	}
	all.Wait()
	return answer{"tickets": slices.Sorted(maps.Keys(tickets))}, nil
}

func nodes() answer {
	snapshot := handle.Nodes()
	all := []answer{}
	for node := range snapshot.All() {
		all = append(all, answer{"id": node.ID, "host": node.Host, "port": node.Port, "labels": node.Labels, "data": app.use(node.Data)})
	}
	runtime.KeepAlive(snapshot)
	return answer{"generation": snapshot.Generation(), "nodes": all}
}

// What the loops of read leave behind, so that the compiler leaves them in.
var (
	sink    uint64
	ownRead atomic.Uint64
)

func read(c command) answer {
	begun := time.Now()
	for range c.Times {
		sink += handle.Nodes().Generation()
	}
	middle := time.Now()
	for range c.Times {
		sink += ownRead.Load()
	}
	end := time.Now()
	return answer{"ns": float64(middle.Sub(begun)) / float64(c.Times), "own_ns": float64(end.Sub(middle)) / float64(c.Times)}
}

func end(how string) {
	switch how {
	case "exit":
		os.Exit(3)
	case "throw":
		panic("thrown")
	case "drop": // it goes on by itself until the process ends
		handle = nil
		runtime.GC()
		runtime.GC()
	}
}

func do(c command) (answer, error) {
	switch c.Do {
	case "hello":
		return answer{"language": "Go", "version": runtime.Version(), "library": safestart.Version(), "forks": false}, nil
	case "open":
		h, err := safestart.Open(c.Settings, safestart.Options{Prepare: app.prepare, Restart: app.restart,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		handle = h
		return answer{}, err
	case "replace":
		return ticket(handle.Replace([]byte(c.JSON)))
	case "announce":
		return ticket(handle.Announce(c.Node, c.Address, c.Incarnation))
	case "withdraw":
		return ticket(handle.Withdraw(c.Node))
	case "request":
		var flags safestart.Flag
		if c.Force {
			flags |= safestart.Force
		}
		if c.Urgent {
			flags |= safestart.Urgent
		}
		return ticket(handle.Request(flags, c.Reason))
	case "burst":
		return burst(c)
	case "script":
		app.script(c.Prepare, c.Restart)
		return answer{}, nil
	case "nodes":
		return nodes(), nil
	case "report":
		var err error
		if c.Code != 0 {
			err = syscall.Errno(-c.Code)
		}
		handle.Nodes().Find(c.Node).Report(err)
		return answer{}, nil
	case "state":
		state, why, err := handle.State(c.Node)
		return answer{"state": int(state), "why": why}, err
	case "status":
		status, err := handle.Status()
		return answer{"status": status}, err
	case "metrics":
		text, err := handle.Metrics()
		return answer{"text": text}, err
	case "counts":
		return app.counts(), nil
	case "read":
		return read(c), nil
	case "later":
		app.later.Store(true)
		return answer{}, nil
	case "shutdown":
		handle.Shutdown()
		return answer{}, nil
	case "close":
		begun := time.Now()
		err := handle.Close()
		return answer{"ms": time.Since(begun).Milliseconds()}, err
	}
	return nil, fmt.Errorf("%s: no such command: %w", c.Do, syscall.ENOSYS) // fork: Go cannot
}

func main() {
	app.script("ok", "ok")
	go app.beat()
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		switch c.Do {
		case "outcome":
			go outcome(c)
		case "end":
			end(c.How)
			return
		default:
			with, err := do(c)
			put(c.ID, with, err)
		}
	}
}
