/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The peers of reading, in a shared library of their own, so that calls to them take the same
 * way as calls to the library. */
#ifndef PEERS_H
#define PEERS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The least cost of two calls into a shared library. */
void *bench_empty_enter(void *argument);
void bench_empty_leave(void *argument);

/* C++: a std::shared_ptr that all threads load, use and drop; by std::atomic<>, and by
 * std::atomic_load(). */
void bench_atomic_shared_ptr(void *argument, size_t times);
void bench_load_shared_ptr(void *argument, size_t times);

#ifdef __cplusplus
}
#endif
#endif
