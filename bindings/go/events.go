// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

/*
#include <safestart/safestart.h>
*/
import "C"

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// start begins to take events. The descriptor is the library's; the netpoller gets a duplicate, which
// is never read from and is closed without a trace.
func (h *Handle) start() error {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(C.safestart_event_fd(h.c)), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return &Error{errno, "no descriptor for events: " + errno.Error()}
	}
	h.events = os.NewFile(fd, "safestart events")
	connection, err := h.events.SyscallConn()
	if err != nil {
		h.events.Close()
		return err
	}
	go h.tell()
	go func() {
		defer close(h.taken)
		defer close(h.told)
		// Taking the events is the read: false means "there are none, wait until it is readable".
		_ = connection.Read(func(uintptr) bool { return h.takeEvents() })
	}()
	return nil
}

// takeEvents takes the events that wait. It calls nothing of the application, so that a log that
// blocks keeps no set from going live. True: no more runs, the rest is given back by Close.
func (h *Handle) takeEvents() bool {
	event := C.struct_safestart_event{size: C.sizeof_struct_safestart_event}
	for {
		switch C.safestart_next_event(h.c, &event) {
		case 1:
			h.take(&event)
		case 0:
			return false
		default:
			h.answer()
			return true
		}
	}
}

func (h *Handle) take(event *C.struct_safestart_event) {
	switch event.kind {
	case C.SAFESTART_EVENT_PREPARE:
		h.begin(event, h.options.Prepare)
	case C.SAFESTART_EVENT_RESTART:
		h.begin(event, h.options.Restart)
	case C.SAFESTART_EVENT_CANCELLED:
		h.mu.Lock()
		if cancel := h.cancels[event.run]; cancel != nil {
			cancel()
		}
		h.mu.Unlock()
	case C.SAFESTART_EVENT_COMMITTED:
		h.refresh(h.c)
	case C.SAFESTART_EVENT_RETIRE, C.SAFESTART_EVENT_RETIRE_NODE:
		h.retire(uint64(event.key))
	case C.SAFESTART_EVENT_OUTCOME:
		h.answer()
		if h.options.Outcome != nil {
			h.put(outcomeOf(event.outcome))
		}
	case C.SAFESTART_EVENT_LOG:
		h.put(line{levelOf(event.level), C.GoString(event.text)})
	}
}

// line is one line for the log.
type line struct {
	level slog.Level
	text  string
}

func levelOf(syslog C.int32_t) slog.Level {
	switch {
	case syslog <= 3:
		return slog.LevelError
	case syslog == 4:
		return slog.LevelWarn
	case syslog <= 6:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (h *Handle) put(what any) {
	select {
	case h.told <- what:
	default:
		h.missed.Add(1)
	}
}

// tell hands log lines and outcomes to the application, which may take its time.
func (h *Handle) tell() {
	for what := range h.told {
		switch what := what.(type) {
		case line:
			h.options.Logger.Log(context.Background(), what.level, what.text)
		case Outcome:
			h.options.Outcome(what)
		}
		if missed := h.missed.Swap(0); missed > 0 {
			h.options.Logger.Warn(fmt.Sprintf("%d log lines or outcomes are missing here: Logger or Outcome took too long", missed))
		}
	}
}

// keep remembers an object until the library gives its key back.
func (h *Handle) keep(object any) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newestKey++
	h.objects[h.newestKey] = object
	return h.newestKey
}

func (h *Handle) object(key uint64) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.objects[key]
}

func (h *Handle) forget(key uint64) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	object := h.objects[key]
	delete(h.objects, key)
	return object
}

// retire closes an object that no reader can see any more, on a goroutine of its own: connections may
// take long to close. Called by one goroutine at a time.
func (h *Handle) retire(key uint64) {
	var end func() error
	switch object := h.forget(key).(type) {
	case io.Closer:
		end = object.Close
	case interface{ Close() }:
		end = func() error { object.Close(); return nil }
	default:
		return
	}
	h.retiring.Add(1)
	go func() {
		defer h.retiring.Done()
		if err := end(); err != nil {
			h.options.Logger.Warn("what was attached to a node or a generation was retired, and its Close failed", "error", err)
		}
	}()
}
