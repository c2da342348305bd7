// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// open opens a handle without pauses, that is closed with the test.
func open(t *testing.T, more map[string]string, options Options) *Handle {
	t.Helper()
	settings := map[string]string{"debounce": "0", "retry_min": "0", "max_shrink": "100%"}
	for key, value := range more {
		settings[key] = value
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := Open(settings, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// document has nodes "id=address".
func document(nodes ...string) []byte {
	var groups []string
	for _, node := range nodes {
		id, address, _ := strings.Cut(node, "=")
		groups = append(groups, fmt.Sprintf(`{"targets":[%q],"labels":{"id":%q,"zone":"z"}}`, address, id))
	}
	return []byte("[" + strings.Join(groups, ",") + "]")
}

func wait(t *testing.T, h *Handle, ticket Ticket, err error) Outcome {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	outcome, err := h.Wait(ctx, ticket)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

func replace(t *testing.T, h *Handle, nodes ...string) Outcome {
	t.Helper()
	ticket, err := h.Replace(document(nodes...))
	return wait(t, h, ticket, err)
}

func expect(t *testing.T, outcome Outcome, verdict Verdict, words ...string) {
	t.Helper()
	if outcome.Verdict != verdict {
		t.Fatalf("%v instead of %v: %s", outcome.Verdict, verdict, outcome.Message)
	}
	for _, w := range words {
		if !strings.Contains(outcome.Message, w) {
			t.Fatalf("%q is not in %q", w, outcome.Message)
		}
	}
	if (outcome.Err() == nil) != (verdict <= Unchanged) {
		t.Fatalf("%v as an error: %v", verdict, outcome.Err())
	}
}

// until waits for what another goroutine does.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func TestBadSettingsAreRefusedInWords(t *testing.T) {
	for key, words := range map[string]string{"debonce": "debounce", "events": "leave it out", "thread": "leave it out", "a\x00b": "NUL"} {
		_, err := Open(map[string]string{key: "1s"}, Options{})
		if err == nil || !strings.Contains(err.Error(), words) || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestNodesAndDataArriveTogether(t *testing.T) {
	h := open(t, nil, Options{Prepare: func(_ context.Context, run *Run) error {
		changes, err := run.Changes()
		if err != nil {
			return err
		}
		for _, change := range changes {
			if change.Kind == Removed {
				continue
			}
			if err := run.SetNodeData(change.ID, "pool of "+change.Address()); err != nil {
				return err
			}
		}
		candidate, err := run.Candidate()
		if err != nil {
			return err
		}
		return run.SetData(len(candidate))
	}})
	if h.Nodes().Len() != 0 || h.Nodes().Generation() != 0 {
		t.Fatal("there are nodes before the first set")
	}
	expect(t, replace(t, h, "b=[::1]:2", "a=10.0.0.1:1"), Applied)
	nodes := h.Nodes()
	if nodes.Generation() != 1 || nodes.Len() != 2 || nodes.Data() != 2 || nodes.At(0).ID != "a" {
		t.Fatalf("%+v", nodes)
	}
	b := nodes.Find("b")
	if b.Host != "::1" || b.Port != 2 || b.Labels["zone"] != "z" || len(b.Labels) != 1 || b.Data != "pool of [::1]:2" {
		t.Fatalf("%+v", b)
	}
	if nodes.Find("c") != nil {
		t.Fatal("found what is not there")
	}
	count := 0
	for range nodes.All() {
		count++
	}
	if count != 2 {
		t.Fatal(count)
	}
	expect(t, replace(t, h, "a=10.0.0.1:1"), Applied)
	if nodes.Len() != 2 || h.Nodes().Len() != 1 || h.Nodes().At(0).Data != "pool of 10.0.0.1:1" {
		t.Fatalf("%+v", h.Nodes())
	}
}

func TestNodesAreAnnouncedAndWithdrawn(t *testing.T) {
	h := open(t, nil, Options{})
	ticket, err := h.Announce("a", "10.0.0.1:1", "boot-7")
	expect(t, wait(t, h, ticket, err), Applied)
	ticket, err = h.Announce("a", "10.0.0.2:1", "")
	expect(t, wait(t, h, ticket, err), Applied)
	if a := h.Nodes().Find("a"); a.Host != "10.0.0.2" || a.Labels["incarnation"] != "boot-7" {
		t.Fatalf("%+v", a)
	}
	if _, err = h.Withdraw("b"); !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
	if _, err = h.Announce("b", "nowhere", ""); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	if _, err = h.Replace([]byte("[{")); err == nil || !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

func TestNodesComeFromAFile(t *testing.T) {
	path := t.TempDir() + "/nodes.json"
	if err := os.WriteFile(path, document("a=10.0.0.1:1"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := open(t, map[string]string{"source": "file:" + path}, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.WaitReady(ctx); err != nil || h.Nodes().Find("a") == nil {
		t.Fatal(err, h.Nodes())
	}
	if _, err := h.Replace(document()); !errors.Is(err, syscall.ENOTSUP) {
		t.Fatal(err)
	}
}

func TestErrorsArriveInWords(t *testing.T) {
	var prepare, restart atomic.Value
	h := open(t, nil, Options{
		Prepare: func(context.Context, *Run) error { return prepare.Load().(func() error)() },
		Restart: func(context.Context, *Run) error { return restart.Load().(func() error)() },
	})
	fine := func() error { return nil }
	restart.Store(fine)
	prepare.Store(func() error { return fmt.Errorf("no route to riak-2 – ä: %w", syscall.EHOSTUNREACH) })
	outcome := replace(t, h, "a=10.0.0.1:1")
	expect(t, outcome, Failed, "prepare failed", "no route to riak-2 – ä")
	if !errors.Is(outcome.Err(), syscall.EHOSTUNREACH) || h.Nodes().Len() != 0 {
		t.Fatal(outcome, h.Nodes().Len())
	}
	prepare.Store(func() error { return errors.New("bad \xff bytes") })
	expect(t, replace(t, h, "a=10.0.0.1:1"), Failed, "bad \uFFFD bytes")
	if _, err := h.Status(); err != nil {
		t.Fatal(err)
	}
	prepare.Store(fine)
	restart.Store(func() error { return errors.New("no such unit") })
	expect(t, replace(t, h, "a=10.0.0.1:1"), Failed, "restart failed", "no such unit")
}

func TestARejectedNodeIsLeftOut(t *testing.T) {
	h := open(t, nil, Options{Prepare: func(_ context.Context, run *Run) error { return run.Reject("b", "not this one") }})
	expect(t, replace(t, h, "a=10.0.0.1:1", "b=10.0.0.2:1"), Applied)
	state, why, err := h.State("b")
	if state != Quarantined || !strings.Contains(why, "not this one") || err != nil || h.Nodes().Len() != 1 {
		t.Fatal(state, why, err)
	}
}

func TestRestartSetsAStatus(t *testing.T) {
	var told atomic.Int64
	h := open(t, nil, Options{
		Restart: func(_ context.Context, run *Run) error { return run.SetStatus(7) },
		Outcome: func(outcome Outcome) { told.Store(int64(outcome.Status)) },
	})
	if outcome := replace(t, h, "a=10.0.0.1:1"); outcome.Status != 7 || outcome.PID != os.Getpid() {
		t.Fatal(outcome)
	}
	until(t, "Outcome", func() bool { return told.Load() == 7 })
}

func TestForceLiftsAGuardRail(t *testing.T) {
	h := open(t, map[string]string{"max_shrink": "50%"}, Options{})
	expect(t, replace(t, h, "a=10.0.0.1:1", "b=10.0.0.2:1", "c=10.0.0.3:1"), Applied)
	outcome := replace(t, h, "a=10.0.0.1:1")
	expect(t, outcome, Refused, "SAFESTART_FORCE")
	if !errors.Is(outcome.Err(), syscall.ERANGE) {
		t.Fatal(outcome)
	}
	ticket, err := h.Request(Force, "they are gone")
	expect(t, wait(t, h, ticket, err), Applied)
	if _, err = h.Request(1<<30, ""); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

func TestReportsMakeNodesProvenOrFailing(t *testing.T) {
	h := open(t, nil, Options{})
	replace(t, h, "a=10.0.0.1:1")
	for _, report := range []struct {
		err  error
		want State
		why  string
	}{{nil, Proven, ""}, {syscall.ECONNREFUSED, Failing, "refused"}, {context.DeadlineExceeded, Failing, "timed out"}, {errors.New("x"), Failing, ""}} {
		h.Nodes().Find("a").Report(report.err)
		if state, why, _ := h.State("a"); state != report.want || !strings.Contains(why, report.why) {
			t.Errorf("%v: %v %s", report.err, state, why)
		}
	}
	status, err := h.Status()
	if err != nil || status["generation"] != 1.0 {
		t.Fatal(status, err)
	}
	metrics, err := h.Metrics()
	if err != nil || !strings.Contains(metrics, "safestart_generation{") {
		t.Fatal(metrics, err)
	}
	if Version() == "" || Live.String() != "live" || State(99).String() != "state 99" || TimedOut.String() != "timed out" {
		t.Fatal("names")
	}
}

func TestTheLogIsTheLoggers(t *testing.T) {
	var text atomic.Value
	text.Store("")
	logger := slog.New(slog.NewTextHandler(writer(func(line string) { text.Store(text.Load().(string) + line) }), &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := open(t, nil, Options{Logger: logger})
	replace(t, h, "a=10.0.0.1:1")
	until(t, "a line", func() bool { return strings.Contains(text.Load().(string), "level=INFO") })
}

type writer func(string)

func (w writer) Write(bytes []byte) (int, error) { w(string(bytes)); return len(bytes), nil }
