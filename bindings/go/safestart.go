// SPDX-License-Identifier: LGPL-2.1-or-later

// Package safestart makes "the storage nodes changed" harmless for a server: ask as often as you
// like, requests in close succession become one run, runs never overlap, and a run either puts a
// whole new set of nodes live or leaves the old one serving.
//
// It binds the C library libsafestart, which pkg-config has to find. No thread of the library ever
// enters the Go runtime: one goroutine takes the library's events, parked in the runtime's netpoller
// and on no thread while there are none.
package safestart

/*
#cgo pkg-config: libsafestart
#include <safestart/safestart.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Options are the application's part of a handle. All of them may be left out.
type Options struct {
	// Prepare is called on a goroutine of its own when the set changed, before anything is live:
	// connect to what run.Changes names, and attach it with run.SetNodeData. Do nothing that
	// cannot be undone, the run can still fail. An error leaves the old set serving, arrives in
	// the outcome in its own words, and is retried. ctx ends when the run's deadline has passed
	// or the handle was shut down: then return, what you return is ignored.
	Prepare func(ctx context.Context, run *Run) error

	// Restart reloads everything else that needs it, after the set went live, for an unchanged
	// set too. Errors and ctx as for Prepare.
	Restart func(ctx context.Context, run *Run) error

	// Outcome is told how each run ended, in order.
	Outcome func(Outcome)

	// Logger gets the library's log. nil: slog.Default().
	Logger *slog.Logger
}

// Handle keeps the nodes of one server. Its methods may be called by any number of goroutines, and
// never block, except Wait and WaitReady, which end with their context, and Close.
type Handle struct {
	options Options
	events  *os.File      // a duplicate of the library's event descriptor, for the netpoller
	taken   chan struct{} // closed when no event is taken any more
	told    chan any      // log lines and outcomes on their way to the application
	missed  atomic.Uint64 // those for which there was no room in told
	live    atomic.Pointer[Snapshot]

	closing sync.Mutex // one Close at a time; taken before the others
	gate    sync.RWMutex
	c       *C.struct_safestart // read under gate, and by the goroutine that takes events
	closed  bool                // guarded by gate; once true, c belongs to Close

	refreshing sync.Mutex // guards what live is replaced by; taken after gate

	mu        sync.Mutex // guards what follows; taken after gate, refreshing and a run's lock
	waiters   map[*waiter]struct{}
	cancels   map[*C.struct_safestart_run]context.CancelFunc
	objects   map[uint64]any // what is attached to nodes and generations, by the library's key
	newestKey uint64
	retiring  sync.WaitGroup
}

// What the binding decides: no thread may be called, and a Go program cannot fork.
var fixed = []string{"events", "start", "thread"}

// Open opens a handle. Settings are those of the library, by name: {"source": "file:nodes.json",
// "debounce": "200ms"}; nil means its defaults. The first load goes on in the background; until it is
// done there are no nodes, see WaitReady.
func Open(settings map[string]string, options Options) (*Handle, error) {
	conf := C.safestart_conf_new()
	if conf == nil {
		return nil, failure(-C.int(syscall.ENOMEM), nil)
	}
	defer C.safestart_conf_free(conf)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if slices.Contains(fixed, key) {
			return nil, &Error{syscall.EINVAL, key + ": is decided by the Go binding, leave it out"}
		}
		if err := set(conf, key, settings[key]); err != nil {
			return nil, err
		}
	}
	if err := set(conf, "events", "pull"); err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	h := &Handle{
		options: options,
		taken:   make(chan struct{}),
		told:    make(chan any, 256),
		waiters: map[*waiter]struct{}{},
		cancels: map[*C.struct_safestart_run]context.CancelFunc{},
		objects: map[uint64]any{},
	}
	h.live.Store(&Snapshot{})
	var why words
	if result := C.safestart_open(&h.c, conf, why.buffer(), why.size()); result < 0 {
		return nil, failure(result, &why)
	}
	if err := h.start(); err != nil {
		C.safestart_close(h.c)
		return nil, err
	}
	return h, nil
}

func set(conf *C.struct_safestart_conf, key, value string) error {
	k, err := cString(key)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(k))
	v, err := cString(value)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(v))
	var why words
	return failure(C.safestart_conf_set(conf, k, v, why.buffer(), why.size()), &why)
}

// call calls the library while the handle is open.
func (h *Handle) call(do func(*C.struct_safestart) error) error {
	h.gate.RLock()
	defer h.gate.RUnlock()
	if h.closed {
		return ErrClosed
	}
	return do(h.c)
}

// Shutdown starts no more runs, and answers every open ticket with Cancelled. Nodes stay. It never
// blocks, and may be called again.
func (h *Handle) Shutdown() {
	_ = h.call(func(c *C.struct_safestart) error {
		C.safestart_shutdown(c)
		h.answer()
		return nil
	})
}

// Close shuts down, and closes all data that is left, so stop serving first: afterwards there are no
// nodes. A Prepare that still runs is not waited for; its context has ended. After an error (a source
// that does not come back within run_timeout) the rest is still there, and Close may be called again.
func (h *Handle) Close() error {
	h.closing.Lock()
	defer h.closing.Unlock()
	if h.c == nil {
		return nil
	}
	h.Shutdown()
	h.events.Close() // ends the goroutine that takes events
	<-h.taken
	h.gate.Lock()
	h.closed = true
	h.gate.Unlock()
	h.abandon()
	if result := C.safestart_close(h.c); result < 0 {
		return failure(result, nil)
	}
	h.c = nil
	h.live.Store(&Snapshot{generation: h.live.Load().generation})
	for key := range h.objects { // no goroutine has a run or takes events any more
		h.retire(key)
	}
	h.retiring.Wait()
	return nil
}

// abandon tells what still waits that nothing will come.
func (h *Handle) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters {
		w.done <- ErrClosed
	}
	clear(h.waiters)
	for _, cancel := range h.cancels {
		cancel()
	}
}

// Flag says how urgent a request is; flags may be or-ed.
type Flag uint32

const (
	Force  Flag = C.SAFESTART_FORCE  // lifts max_shrink and min_nodes
	Urgent Flag = C.SAFESTART_URGENT // skips debounce and backoff
)

// Request asks for the nodes to be applied, and returns at once: the ticket is for Wait. The reason
// may be "".
func (h *Handle) Request(flags Flag, reason string) (Ticket, error) {
	var ticket Ticket
	err := h.call(func(c *C.struct_safestart) error {
		var why *C.char
		if reason != "" {
			why = C.CString(clean(reason))
			defer C.free(unsafe.Pointer(why))
		}
		ticket = Ticket(C.safestart_request(c, C.uint32_t(flags), why))
		if ticket != 0 {
			return nil
		}
		if flags&^(Force|Urgent) != 0 {
			return failure(-C.int(syscall.EINVAL), nil)
		}
		return ErrClosed
	})
	return ticket, err
}

// Replace replaces the whole desired set (source=push) by a Prometheus file_sd document.
func (h *Handle) Replace(document []byte) (Ticket, error) {
	return h.push(func(c *C.struct_safestart, argument []*C.char, ticket *C.uint64_t, why *words) C.int {
		return C.safestart_nodes_replace(c, argument[0], ticket, why.buffer(), why.size())
	}, string(document))
}

// Announce adds a node to the desired set (source=push), or gives the node with this id another
// address or incarnation; "" keeps the old incarnation.
func (h *Handle) Announce(id, address, incarnation string) (Ticket, error) {
	return h.push(func(c *C.struct_safestart, argument []*C.char, ticket *C.uint64_t, _ *words) C.int {
		if incarnation == "" {
			argument[2] = nil
		}
		return C.safestart_node_announce(c, argument[0], argument[1], argument[2], ticket)
	}, id, address, incarnation)
}

// Withdraw takes a node out of the desired set (source=push).
func (h *Handle) Withdraw(id string) (Ticket, error) {
	return h.push(func(c *C.struct_safestart, argument []*C.char, ticket *C.uint64_t, _ *words) C.int {
		return C.safestart_node_withdraw(c, argument[0], ticket)
	}, id)
}

func (h *Handle) push(do func(*C.struct_safestart, []*C.char, *C.uint64_t, *words) C.int, arguments ...string) (Ticket, error) {
	var ticket C.uint64_t
	err := h.call(func(c *C.struct_safestart) error {
		strings := make([]*C.char, len(arguments))
		for i, argument := range arguments {
			s, err := cString(argument)
			if err != nil {
				return err
			}
			defer C.free(unsafe.Pointer(s))
			strings[i] = s
		}
		var why words
		return failure(do(c, strings, &ticket, &why), &why)
	})
	return Ticket(ticket), err
}

// State says what this process knows of a node, and why.
func (h *Handle) State(id string) (state State, why string, err error) {
	err = h.call(func(c *C.struct_safestart) error {
		s, err := cString(id)
		if err != nil {
			return err
		}
		defer C.free(unsafe.Pointer(s))
		var explanation words
		result := C.safestart_node_state(c, s, explanation.buffer(), explanation.size())
		state, why = State(result), explanation.String()
		return failure(result, nil)
	})
	return state, why, err
}

// Status is the state of the handle, as the library's JSON object. "summary" is the line to read first.
func (h *Handle) Status() (map[string]any, error) {
	text, err := h.text(func(c *C.struct_safestart) *C.char { return C.safestart_status_json(c) })
	if err != nil {
		return nil, err
	}
	var status map[string]any
	return status, json.Unmarshal([]byte(text), &status)
}

// Metrics are the figures in the Prometheus exposition format.
func (h *Handle) Metrics() (string, error) {
	return h.text(func(c *C.struct_safestart) *C.char { return C.safestart_metrics_text(c) })
}

func (h *Handle) text(get func(*C.struct_safestart) *C.char) (text string, err error) {
	err = h.call(func(c *C.struct_safestart) error {
		s := get(c)
		if s == nil {
			return failure(-C.int(syscall.ENOMEM), nil)
		}
		defer C.safestart_free(unsafe.Pointer(s))
		text = C.GoString(s)
		return nil
	})
	return text, err
}

// Version is that of the library which is loaded.
func Version() string {
	return C.GoString(C.safestart_version())
}
