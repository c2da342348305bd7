/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* callback: the frames of the calling thread, and their words. Any thread; a frame stands on the
 * stack of the function that enters, so nothing is allocated. */
#include "base/callback.h"

#include "base/invariant.h"

#include "base/message.h"

/* The callbacks this thread is inside of, innermost first; of several handles, when one's callback
 * drives another. Per thread, hence no lock; initial-exec costs nothing. */
static __thread struct callback_frame *innermost __attribute__((tls_model("initial-exec")));

void callback_describe(const struct callback_inside *callback, int64_t now, char *words,
		       size_t size)
{
	if (!callback->busy)
		message_copy(words, size,
			     "no thread has executed it yet; perhaps the process was stopped");
	else if (callback->what == NULL)
		message_copy(words, size,
			     "another job has not returned; perhaps it is inside `log`, or waits "
			     "for a reader");
	else if (callback->run == 0)
		message_set(words, size, 0, "`%s` has not returned for %s", callback->what,
			    message_duration(now - callback->since).text);
	else
		message_set(words, size, 0, "`%s` of run %llu has not returned for %s",
			    callback->what, (unsigned long long)callback->run,
			    message_duration(now - callback->since).text);
}

void callback_enter(struct callback_frame *frame, const void *handle, struct worker *worker,
		    const char *what, uint64_t run, int64_t now)
{
	invariant(handle != NULL && frame != innermost);
	frame->handle = handle;
	frame->outer = innermost;
	innermost = frame;
	if (worker == NULL)
		return;
	worker_set_callback(worker,
			    &(struct callback_inside){.what = what, .run = run, .since = now});
}

void callback_leave(struct callback_frame *frame, struct worker *worker)
{
	/* Callbacks end in the order in which they began, each on the thread that it began on; but
	 * for a child forked inside of one, which has forgotten them. [P17] */
	invariant(innermost == frame || innermost == NULL);
	innermost = frame->outer;
	if (worker == NULL)
		return;
	worker_set_callback(worker, &(struct callback_inside){0});
}

struct callback_frame *callback_innermost(void)
{
	return innermost;
}

void callback_return_to(struct callback_frame *frame)
{
	innermost = frame;
}

void callback_forget_all(void)
{
	innermost = NULL;
}

bool callback_is_inside(const void *handle)
{
	for (const struct callback_frame *frame = innermost; frame != NULL; frame = frame->outer) {
		if (frame->handle == handle)
			return true;
	}
	return false;
}
