// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

/*
#include <safestart/safestart.h>
*/
import "C"

import (
	"context"
	"fmt"
	"syscall"
)

// Ticket stands for a request, and for all others that the same run covers.
type Ticket uint64

// Verdict says how a run ended.
type Verdict int

const (
	Pending   Verdict = C.SAFESTART_PENDING   // not ended yet
	Applied   Verdict = C.SAFESTART_APPLIED   // a new generation is live, or Restart was carried out
	Unchanged Verdict = C.SAFESTART_UNCHANGED // the live set already is this one
	Refused   Verdict = C.SAFESTART_REFUSED   // malformed, or a guard rail: no retry until the input changes
	Failed    Verdict = C.SAFESTART_FAILED    // the source, Prepare or Restart failed: retried
	TimedOut  Verdict = C.SAFESTART_TIMED_OUT // took longer than run_timeout: retried
	Cancelled Verdict = C.SAFESTART_CANCELLED // the handle was shut down
)

func (v Verdict) String() string {
	names := []string{"pending", "applied", "unchanged", "refused", "failed", "timed out", "cancelled"}
	if v < Pending || v > Cancelled {
		return fmt.Sprintf("verdict %d", int(v))
	}
	return names[v-Pending]
}

// Outcome says how a run ended, and with it every request that it covered.
type Outcome struct {
	Verdict     Verdict
	Errno       syscall.Errno // 0, or why, for every verdict from Refused on
	Message     string        // in words: what happened, what to do, when it is retried
	Run         uint64        // which run; 0: none (shut down before)
	Generation  uint64        // the generation that was live when it ended
	Requests    uint64        // how many it coalesced
	Attempts    uint32        // runs in a row that tried this set, this one included
	Quarantined uint32        // entries left out as unusable or rejected
	Ticket      Ticket        // this ticket and every older one is answered
	Status      int           // what Restart set by Run.SetStatus
	PID         int           // the process that made the run
	Merged      uint64        // so many outcomes directly before this one were left out (Options.Outcome)
}

// Err is nil if the nodes that were asked for are live, else the outcome as an error.
func (o Outcome) Err() error {
	if o.Verdict == Applied || o.Verdict == Unchanged {
		return nil
	}
	return &Error{o.Errno, o.Message}
}

func outcomeOf(c *C.struct_safestart_outcome) Outcome {
	return Outcome{
		Verdict:     Verdict(c.verdict),
		Errno:       syscall.Errno(-c.error),
		Message:     C.GoString(&c.message[0]),
		Run:         uint64(c.run),
		Generation:  uint64(c.generation),
		Requests:    uint64(c.requests),
		Attempts:    uint32(c.attempts),
		Quarantined: uint32(c.quarantined),
		Ticket:      Ticket(c.ticket),
		Status:      int(c.status),
		PID:         int(c.pid),
		Merged:      uint64(c.merged),
	}
}

// Wait waits for the outcome of a ticket, or until ctx ends. Nodes then gives the set of that outcome
// or a later one. An error is not the run's (see Outcome.Err), but the wait's: ctx's; ENODATA for a
// ticket that was answered long ago (the last 1024 are kept); EINVAL for one that was never issued.
func (h *Handle) Wait(ctx context.Context, ticket Ticket) (Outcome, error) {
	c := C.struct_safestart_outcome{verdict: C.SAFESTART_PENDING}
	c.size = C.sizeof_struct_safestart_outcome
	err := h.await(ctx, func(handle *C.struct_safestart) C.int {
		return C.safestart_try_wait(handle, C.uint64_t(ticket), &c)
	})
	if err != nil {
		return Outcome{Verdict: Pending, Ticket: ticket}, err
	}
	return outcomeOf(&c), nil
}

// WaitReady waits until a first set is live, or until ctx ends.
func (h *Handle) WaitReady(ctx context.Context) error {
	return h.await(ctx, func(handle *C.struct_safestart) C.int {
		result := C.safestart_wait_ready(handle, 0)
		if result == -C.int(syscall.ETIMEDOUT) {
			return -C.int(syscall.EAGAIN)
		}
		return result
	})
}

// waiter is a goroutine that waits until look says something else than EAGAIN.
type waiter struct {
	look func(*C.struct_safestart) C.int
	done chan error
}

// await holds no thread: it looks at once, and answer looks again when a run has ended.
func (h *Handle) await(ctx context.Context, look func(*C.struct_safestart) C.int) error {
	w := &waiter{look, make(chan error, 1)}
	err := h.call(func(c *C.struct_safestart) error {
		h.mu.Lock()
		h.waiters[w] = struct{}{}
		h.answerOne(c, w)
		h.mu.Unlock()
		h.refresh(c) // it may be answered before its COMMITTED event was taken
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err = <-w.done:
		return err
	case <-ctx.Done():
	}
	h.mu.Lock()
	delete(h.waiters, w)
	h.mu.Unlock()
	select {
	case err = <-w.done:
		return err
	default:
		return ctx.Err()
	}
}

// answer gives those that wait what they wait for, if it has come. The caller is in call, or takes
// events.
func (h *Handle) answer() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters {
		h.answerOne(h.c, w)
	}
}

func (h *Handle) answerOne(c *C.struct_safestart, w *waiter) {
	if result := w.look(c); result != -C.int(syscall.EAGAIN) {
		delete(h.waiters, w)
		w.done <- failure(result, nil)
	}
}
