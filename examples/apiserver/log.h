/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log - lines on standard error, with the time. Any thread may write one; a line is one write(). */
#ifndef APISERVER_LOG_H
#define APISERVER_LOG_H

/* Levels as in <syslog.h>. No newline at the end. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
