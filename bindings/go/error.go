// SPDX-License-Identifier: LGPL-2.1-or-later

package safestart

/*
#include <safestart/safestart.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"unsafe"
)

// Error is an error of the library: in words, and as a number for errors.Is(err, syscall.EINVAL).
type Error struct {
	Errno   syscall.Errno
	Message string
}

func (e *Error) Error() string { return "safestart: " + e.Message }
func (e *Error) Unwrap() error { return e.Errno }

// ErrClosed is what a handle answers after Shutdown or Close.
var ErrClosed error = &Error{syscall.ECANCELED, "the handle was shut down"}

// words is a buffer for an explanation.
type words struct{ bytes [512]C.char }

func (w *words) buffer() *C.char { return &w.bytes[0] }
func (w *words) size() C.size_t  { return C.size_t(len(w.bytes)) }
func (w *words) String() string  { return C.GoString(&w.bytes[0]) }

// failure is nil for a result that is none. Without words the library's text of the number is used.
func failure(result C.int, why *words) error {
	if result >= 0 {
		return nil
	}
	if result == -C.int(syscall.ECANCELED) {
		return ErrClosed
	}
	if why != nil && why.bytes[0] != 0 {
		return &Error{syscall.Errno(-result), why.String()}
	}
	return &Error{syscall.Errno(-result), C.GoString(C.safestart_strerror(result))}
}

// errnoOf is the number of an application's error, negative.
func errnoOf(err error) C.int {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno) && errno > 0:
		return -C.int(errno)
	case errors.Is(err, context.DeadlineExceeded):
		return -C.int(syscall.ETIMEDOUT)
	}
	return -C.int(syscall.EIO)
}

// cString copies a string; the caller frees it. What C would cut is refused.
func cString(s string) (*C.char, error) {
	if strings.ContainsRune(s, 0) {
		return nil, &Error{syscall.EINVAL, "a string has a NUL byte in it"}
	}
	return C.CString(s), nil
}

// clean makes words from anywhere fit for the log and for JSON.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}

func withString(s string, do func(*C.char) C.int) C.int {
	c, err := cString(s)
	if err != nil {
		return -C.int(syscall.EINVAL)
	}
	defer C.free(unsafe.Pointer(c))
	return do(c)
}
