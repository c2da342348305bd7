/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log: a line is clean UTF-8 of at most 639 bytes; the events get it before the application does,
 * which may take long. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/callback.h"
#include "base/message.h"
#include "base/thread.h"

void log_line(const struct log *log, int level, const char *format, ...)
{
	struct callback_frame frame;
	char line[640];
	va_list arguments;

	THREAD_NOT_CANCELLED; /* it may be a source's thread */

	if (log->write == NULL && log->events == NULL)
		return;
	int prefix = snprintf(line, sizeof(line), "%.60s: ", log->name);
	va_start(arguments, format);
	vsnprintf(line + prefix, sizeof(line) - (size_t)prefix, format, arguments);
	va_end(arguments);
	message_clean(line);
	events_post_log(log->events, level, line + prefix);
	if (log->write == NULL)
		return;
	callback_enter(&frame, log->handle, NULL, NULL, 0, 0);
	log->write(level, line, log->user_data);
	callback_leave(&frame, NULL);
}

int log_repeated(int level, uint32_t times)
{
	return (times & (times - 1)) == 0 ? level : LOG_DEBUG;
}
