// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

/*
#include <safestart/safestart.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"syscall"
	"unsafe"
)

// Run is one attempt to apply the desired set, for Prepare and Restart. It is over when these return:
// then its methods give errors. Goroutines may share it until then.
type Run struct {
	handle *Handle
	number uint64

	mu sync.Mutex // taken after the handle's gate
	c  *C.struct_safestart_run
}

// ErrRunOver is what a Run answers when its Prepare or Restart has returned.
var ErrRunOver error = &Error{syscall.ESTALE, "the run is over"}

var errNotReturned = errors.New("it ended its goroutine without returning")

// begin hands a run to the application; run.finish gives it back to the library, exactly once.
func (h *Handle) begin(event *C.struct_safestart_event, do func(context.Context, *Run) error) {
	run := &Run{handle: h, number: uint64(event.run_number), c: event.run}
	if do == nil {
		C.safestart_run_finish(event.run, 0)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.mu.Lock()
	h.cancels[run.c] = cancel
	h.mu.Unlock()
	go func() {
		defer cancel()
		err := errNotReturned
		defer func() { run.finish(err) }()
		err = do(ctx, run)
	}()
}

func (r *Run) finish(err error) {
	_ = r.call(func(c *C.struct_safestart_run) C.int {
		r.c = nil
		// Before the library may use the same address again: Restart has the run of Prepare.
		r.handle.mu.Lock()
		delete(r.handle.cancels, c)
		r.handle.mu.Unlock()
		if err == nil {
			return C.safestart_run_finish(c, 0)
		}
		return withString(clean(err.Error()), func(words *C.char) C.int {
			return C.safestart_run_fail(c, errnoOf(err), words)
		})
	})
}

func (r *Run) call(do func(*C.struct_safestart_run) C.int) error {
	return r.handle.call(func(*C.struct_safestart) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.c == nil {
			return ErrRunOver
		}
		return failure(do(r.c), nil)
	})
}

// Number is the run's number, as in its outcome and in the log.
func (r *Run) Number() uint64 { return r.number }

// Entry is a node as it is announced.
type Entry struct {
	ID     string            `json:"id"`
	Host   string            `json:"host"` // an IPv6 address without its brackets
	Port   uint16            `json:"port"`
	Labels map[string]string `json:"labels"` // without "id"
}

// What a Change can be.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed" // address or labels; the incarnation is a label
)

// Change is a difference between the live set and the one that the run applies: the new entry, of a
// removed node the live one.
type Change struct {
	Kind string `json:"change"`
	Entry
	Was *Entry `json:"was"` // of a changed node the live entry
}

// Changes are the differences, in the order of ids.
func (r *Run) Changes() ([]Change, error) {
	var changes []Change
	err := r.call(func(c *C.struct_safestart_run) C.int {
		text := C.safestart_run_changes_json(c)
		if text == nil {
			return -C.int(syscall.ENOMEM)
		}
		defer C.safestart_free(unsafe.Pointer(text))
		if json.Unmarshal([]byte(C.GoString(text)), &changes) != nil {
			return -C.int(syscall.EINVAL)
		}
		return 0
	})
	for i := range changes {
		if changes[i].Was != nil {
			changes[i].Was.ID = changes[i].ID
		}
	}
	return changes, err
}

// Candidate are all nodes of the set that the run applies, in the order of ids, with the data that
// they inherit or were given. Rejected nodes are still among them.
func (r *Run) Candidate() ([]Node, error) {
	var nodes []Node
	err := r.call(func(c *C.struct_safestart_run) C.int {
		nodes = r.handle.copyNodes(C.safestart_run_candidate(c), nil)
		return 0
	})
	return nodes, err
}

// Reject leaves an added or changed node out of the set; a changed one keeps its old entry. The others
// are applied, and this one is retried. In Prepare only.
func (r *Run) Reject(id, reason string) error {
	return r.call(func(c *C.struct_safestart_run) C.int {
		return withString(id, func(id *C.char) C.int {
			return withString(clean(reason), func(reason *C.char) C.int { return C.safestart_run_reject(c, id, reason) })
		})
	})
}

// SetNodeData attaches data, such as a connection pool, to a node of the candidate. Unchanged nodes
// inherit it. When no reader can see it any more (or if the run fails), its Close is called, if it has
// one. To keep what the live node of this id has, set the same object again. In Prepare only; on an
// error the data is still yours.
func (r *Run) SetNodeData(id string, data any) error {
	return r.call(func(c *C.struct_safestart_run) C.int {
		return withString(id, func(id *C.char) C.int {
			var live C.uint64_t
			if node := C.safestart_snapshot_find(C.safestart_run_current(c), id); node != nil {
				live = C.safestart_node_key(node)
			}
			return r.attach(data, live, func(key C.uint64_t) C.int { return C.safestart_run_set_node_key(c, id, key) })
		})
	})
}

// SetData attaches data to the generation, such as a ring of its nodes; without this call it has none.
// Otherwise as SetNodeData.
func (r *Run) SetData(data any) error {
	return r.call(func(c *C.struct_safestart_run) C.int {
		live := C.safestart_snapshot_key(C.safestart_run_current(c))
		return r.attach(data, live, func(key C.uint64_t) C.int {
			result := C.safestart_run_set_key(c, key)
			if result == -C.int(syscall.ENOMEM) {
				return 0 // it is the library's all the same: the run fails, and the key is retired with it
			}
			return result
		})
	})
}

func (r *Run) attach(data any, live C.uint64_t, do func(C.uint64_t) C.int) C.int {
	if data == nil {
		return do(0)
	}
	if live != 0 && same(r.handle.object(uint64(live)), data) {
		return do(live)
	}
	key := r.handle.keep(data)
	result := do(C.uint64_t(key))
	if result < 0 {
		r.handle.forget(key)
	}
	return result
}

func same(a, b any) bool {
	return a != nil && reflect.TypeOf(a).Comparable() && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// SetStatus sets a number, such as an exit code, as the status of the outcome. In Restart only.
func (r *Run) SetStatus(status int) error {
	return r.call(func(c *C.struct_safestart_run) C.int {
		C.safestart_run_set_status(c, C.int(status))
		return 0
	})
}
