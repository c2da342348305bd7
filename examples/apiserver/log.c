/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log - see log.h. */
#define _GNU_SOURCE 1
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void log_line(int level, const char *format, ...)
{
	static const char *const word[] = {"emergency", "alert",  "critical", "error",
					   "warning",   "notice", "info",     "debug"};
	struct timespec now;
	struct tm local;
	char text[1024], when[32];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(when, sizeof(when), "%F %T", &local);
	dprintf(STDERR_FILENO, "%s.%03ld apiserver[%d] %s: %s\n", when, now.tv_nsec / 1000000,
		(int)getpid(), level >= 0 && level <= 7 ? word[level] : "log", text);
}
