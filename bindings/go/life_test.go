// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pool is what a server attaches to a node.
type pool struct {
	closed atomic.Int64
	all    *atomic.Int64
}

func (p *pool) Close() error {
	p.closed.Add(1)
	p.all.Add(1)
	return nil
}

// pools gives each new or changed node a pool, and counts.
type pools struct{ made, closed atomic.Int64 }

func (p *pools) prepare(_ context.Context, run *Run) error {
	changes, err := run.Changes()
	for _, change := range changes {
		if change.Kind != Removed {
			p.made.Add(1)
			pool := &pool{all: &p.closed}
			if refused := run.SetNodeData(change.ID, pool); refused != nil { // then it is ours still
				err = errors.Join(err, refused, pool.Close())
			}
		}
	}
	return err
}

// together is WaitGroup.Go, which Go 1.24 has not.
func together(all *sync.WaitGroup, do func()) {
	all.Add(1)
	go func() {
		defer all.Done()
		do()
	}()
}

func TestDataIsClosedOnceAndNotBefore(t *testing.T) {
	var p pools
	h := open(t, nil, Options{Prepare: p.prepare})
	replace(t, h, "a=10.0.0.1:1", "b=10.0.0.2:1")
	held := h.Nodes().Find("a") // one node alone keeps its generation
	for i := range 200 {
		expect(t, replace(t, h, fmt.Sprintf("a=10.0.1.%d:1", i), "b=10.0.0.2:1"), Applied)
	}
	until(t, "all others are closed", func() bool { return p.closed.Load() == p.made.Load()-3 })
	if held.Data.(*pool).closed.Load() != 0 {
		t.Fatal("closed while it was in use")
	}
	runtime.KeepAlive(held)
	until(t, "the held one is closed", func() bool { runtime.GC(); return p.closed.Load() == p.made.Load()-2 })
	a := h.Nodes().Find("a").Data.(*pool)
	if err := h.Close(); err != nil || a.closed.Load() != 1 || p.closed.Load() != p.made.Load() {
		t.Fatal(err, a.closed.Load(), p.closed.Load(), p.made.Load())
	}
	if h.Nodes().Len() != 0 {
		t.Fatal("nodes after Close")
	}
}

func TestDataOfAFailedRunIsClosed(t *testing.T) {
	var p pools
	h := open(t, nil, Options{Prepare: func(ctx context.Context, run *Run) error {
		return errors.Join(p.prepare(ctx, run), errors.New("no"))
	}})
	expect(t, replace(t, h, "a=10.0.0.1:1"), Failed)
	until(t, "it is closed", func() bool { return p.closed.Load() == 1 })
}

func TestTheLiveObjectMayBeKept(t *testing.T) {
	var all atomic.Int64
	kept := &pool{all: &all}
	odd := func() {} // cannot be compared
	h := open(t, nil, Options{Prepare: func(_ context.Context, run *Run) error {
		return errors.Join(run.SetNodeData("a", kept), run.SetNodeData("b", odd), run.SetData(kept))
	}})
	for i := range 50 {
		expect(t, replace(t, h, fmt.Sprintf("a=10.0.0.%d:1", i), fmt.Sprintf("b=10.1.0.%d:1", i)), Applied)
	}
	runtime.GC()
	if all.Load() != 0 || h.Nodes().Find("a").Data != kept || h.Nodes().Data() != kept {
		t.Fatal("closed", all.Load(), "times while it was live")
	}
	h.Close()
	if all.Load() != 2 { // once as a node's, once as the generation's
		t.Fatal(all.Load())
	}
}

func TestWaitsEndWithTheirContextAndHoldNoThread(t *testing.T) {
	h := open(t, map[string]string{"debounce": "1h", "max_delay": "1h"}, Options{})
	ticket, _ := h.Request(0, "")
	before := pprof.Lookup("threadcreate").Count()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 500 {
		together(&all, func() {
			if outcome, err := h.Wait(ctx, ticket); !errors.Is(err, context.Canceled) || outcome.Verdict != Pending {
				t.Error(outcome, err)
			}
		})
	}
	until(t, "all wait", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.waiters) == 500 })
	if threads := pprof.Lookup("threadcreate").Count() - before; threads > 20 {
		t.Fatal("waiting took threads:", threads)
	}
	cancel()
	all.Wait()
	if len(h.waiters) != 0 {
		t.Fatal(len(h.waiters), "are left")
	}
	over, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := h.Wait(over, ticket); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := h.Wait(context.Background(), ticket+9); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

func TestAShutdownAnswersWhatWaits(t *testing.T) {
	h := open(t, map[string]string{"debounce": "1h", "max_delay": "1h"}, Options{})
	ticket, _ := h.Request(0, "")
	go func() {
		until(t, "one waits", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.waiters) == 1 })
		h.Shutdown()
	}()
	expect(t, wait(t, h, ticket, nil), Cancelled)
	if _, err := h.Request(0, ""); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := h.WaitReady(context.Background()); !errors.Is(err, syscall.ECANCELED) {
		t.Fatal(err)
	}
}

func TestPrepareIsToldOfItsDeadline(t *testing.T) {
	var hang atomic.Bool
	hang.Store(true)
	told := make(chan *Run, 1000)
	h := open(t, map[string]string{"run_timeout": "50ms"}, Options{Prepare: func(ctx context.Context, run *Run) error {
		if hang.Load() {
			<-ctx.Done()
			told <- run
		}
		return nil
	}})
	// On a busy machine the deadline may pass before Prepare has begun.
	var run *Run
	until(t, "Prepare is told", func() bool {
		expect(t, replace(t, h, "a=10.0.0.1:1"), TimedOut, "`prepare`")
		select {
		case run = <-told:
		case <-time.After(100 * time.Millisecond):
		}
		return run != nil
	})
	until(t, "the run is over", func() bool { return errors.Is(run.Reject("a", ""), ErrRunOver) })
	hang.Store(false)
	until(t, "it is applied", func() bool { return replace(t, h, "a=10.0.0.1:1").Verdict == Applied })
}

func TestCloseWaitsForNoPrepare(t *testing.T) {
	inside, end := make(chan *Run), make(chan struct{})
	var p pools
	h := open(t, map[string]string{"run_timeout": "1h"}, Options{Prepare: func(ctx context.Context, run *Run) error {
		err := p.prepare(ctx, run)
		inside <- run
		<-end
		return err
	}})
	ticket, _ := h.Replace(document("a=10.0.0.1:1"))
	run := <-inside
	answered := make(chan error)
	go func() {
		outcome, err := h.Wait(context.Background(), ticket)
		answered <- errors.Join(err, outcome.Err())
	}()
	until(t, "one waits", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.waiters) == 1 })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; !errors.Is(err, syscall.ECANCELED) {
		t.Fatal(err)
	}
	if p.closed.Load() != 1 {
		t.Fatal("its data was not given back")
	}
	if err := run.SetNodeData("a", 1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	close(end)
	if err := h.Close(); err != nil {
		t.Fatal("a second Close:", err)
	}
	if _, err := h.Request(0, ""); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := h.Wait(context.Background(), ticket); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestALoggerThatBlocksKeepsNothingFromGoingLive(t *testing.T) {
	blocked := make(chan struct{})
	logger := slog.New(slog.NewTextHandler(writer(func(string) { <-blocked }), &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := open(t, nil, Options{Logger: logger})
	for i := range 400 {
		expect(t, replace(t, h, fmt.Sprintf("a=10.0.%d.1:1", i%250)), Applied)
	}
	if h.Nodes().Generation() != 400 || h.missed.Load() == 0 {
		t.Fatal(h.Nodes().Generation(), h.missed.Load())
	}
	close(blocked)
}

func TestReadersNeverSeeClosedData(t *testing.T) {
	var p pools
	var end atomic.Bool
	h := open(t, nil, Options{Prepare: p.prepare})
	replace(t, h, "a=10.0.0.1:1", "b=10.0.0.2:1")
	var all sync.WaitGroup
	for range 4 {
		together(&all, func() {
			for newest := uint64(0); !end.Load(); {
				nodes := h.Nodes()
				if nodes.Generation() < newest {
					t.Error("generations go backwards")
				}
				newest = nodes.Generation()
				for node := range nodes.All() {
					node.Report(nil)
					if node.Data.(*pool).closed.Load() != 0 {
						t.Error("closed while it was in use")
					}
				}
				runtime.KeepAlive(nodes)
				runtime.Gosched() // more readers than processors
			}
		})
	}
	for i := range 60 {
		outcome := replace(t, h, fmt.Sprintf("a=10.0.%d.1:1", i%250), "b=10.0.0.2:1")
		if h.Nodes().Generation() < outcome.Generation {
			t.Fatal("an old set after the wait")
		}
		if i%10 == 0 {
			runtime.GC()
		}
	}
	end.Store(true)
	all.Wait()
}

// Everything at once, and Close in the middle of it.
func TestCloseUnderLoad(t *testing.T) {
	for range 20 {
		var p pools
		h := open(t, nil, Options{Prepare: p.prepare})
		var all sync.WaitGroup
		for i := range 8 {
			together(&all, func() {
				for {
					ticket, err := h.Replace(document(fmt.Sprintf("a=10.0.0.%d:1", i)))
					if err == nil {
						_, err = h.Wait(context.Background(), ticket)
					}
					_, _, _ = h.State("a")
					_, _ = h.Status()
					if errors.Is(err, ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
					}
				}
			})
		}
		until(t, "some runs", func() bool { return h.Nodes().Generation() > 3 })
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if p.made.Load() != p.closed.Load() {
			t.Fatal(p.made.Load(), p.closed.Load())
		}
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	descriptors := func() int {
		entries, _ := os.ReadDir("/proc/self/fd")
		return len(entries)
	}
	once := func() {
		h := open(t, nil, Options{})
		replace(t, h, "a=10.0.0.1:1")
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	before, goroutines := descriptors(), runtime.NumGoroutine()
	for range 50 {
		once()
	}
	until(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if descriptors() > before {
		t.Fatal(descriptors(), "descriptors, before", before)
	}
}

// A set is live before the event that says so is taken.
func TestAWaitEndsWithTheSetInPlace(t *testing.T) {
	h := open(t, nil, Options{})
	h.refreshing.Lock() // now the goroutine that takes events stops at that event
	if _, err := h.Replace(document("a=10.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	until(t, "it is live", func() bool { status, _ := h.Status(); return status["generation"] == 1.0 })
	begun, ready := make(chan struct{}), make(chan int)
	go func() {
		close(begun)
		if err := h.WaitReady(context.Background()); err != nil {
			t.Error(err)
		}
		ready <- h.Nodes().Len()
	}()
	<-begun
	for range 100 {
		runtime.Gosched() // it would end here, without the nodes
	}
	select {
	case count := <-ready:
		t.Error("it ended with", count, "nodes")
		h.refreshing.Unlock()
		return
	default:
		h.refreshing.Unlock()
	}
	if count := <-ready; count != 1 {
		t.Error("it ended with", count, "nodes")
	}
}
