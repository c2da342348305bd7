/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log: lines for the application's `log` and for clients that follow events at the control socket.
 * The dispatching thread's and the worker's, the thread of a source that warns and the one that
 * closes; with no lock held: the callback may take its time. */
#ifndef SAFESTART_BASE_LOG_H
#define SAFESTART_BASE_LOG_H

#include <stdint.h>
#include <syslog.h>

#include "base/events.h"

/* Constant after open. */
struct log {
	const void *handle; /* for callback_is_inside() */
	const char *name;   /* of the handle: begins each line */
	void (*write)(int level, const char *message, void *user_data); /* NULL: none */
	void *user_data;
	struct events *events; /* NULL: no control socket */
};

void log_line(const struct log *log, int level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The level of a failure that repeats by itself: `level` at its 1st, 2nd, 4th, 8th time, LOG_DEBUG
 * in between, for the same line every 30 s hides what matters. */
int log_repeated(int level, uint32_t times);

#endif
