/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* callback: around each call of a function that belongs to the application or to a source: which
 * one is inside, for messages, and whether the calling thread is in one, for then it must not wait.
 * Any thread; no lock is held while the callback runs. */
#ifndef SAFESTART_BASE_CALLBACK_H
#define SAFESTART_BASE_CALLBACK_H

#include "base/worker.h"

struct callback_frame {
	const void *handle;
	struct callback_frame *outer;
};

/* A callback of `handle` begins on this thread; `worker` NULL: it is the log's, which may overlap.
 */
void callback_enter(struct callback_frame *frame, const void *handle, struct worker *worker,
		    const char *what, uint64_t run, int64_t now);
void callback_leave(struct callback_frame *frame, struct worker *worker);

/* In a forked child: the callback the parent was in is not the child's. */
void callback_forget_all(void);

/* Those that this thread is inside of now; and back to them, when what was called meanwhile was
 * left by an exception. */
struct callback_frame *callback_innermost(void);
void callback_return_to(struct callback_frame *frame);

/* Is this thread inside a callback of that handle? */
bool callback_is_inside(const void *handle);

/* "`prepare` of run 7 has not returned for 31 s". Without a callback a job can only be kept by
 * `log`, or by work of ours; without a job it is the thread that has not come. */
void callback_describe(const struct callback_inside *callback, int64_t now, char *words,
		       size_t size);

#endif
