/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report: messages on standard error, and which exit code is the worse. Called by the main thread;
 * the supervisor's process calls it too, between fork and exec. */
#include "base/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

static const char *verb_name; /* set once by main(); a forked supervisor inherits it */

void report_verb(const char *name)
{
	verb_name = name;
}

int report(int code, const char *format, ...)
{
	va_list arguments;
	char line[4096];

	/* One write for the whole line: many callers may share a terminal or a log file. */
	int prefix = snprintf(line, sizeof(line), "safestart%s%s: ", verb_name != NULL ? " " : "",
			      verb_name != NULL ? verb_name : "");
	va_start(arguments, format);
	vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, arguments);
	va_end(arguments);
	char *clean =
		text_clean(line); /* may contain file names and what other processes answered */
	snprintf(line, sizeof(line), "%s\n", clean != NULL ? clean : "safestart: out of memory");
	free(clean);
	fputs(line, stderr);
	return code;
}

int exit_code_worse(int one, int other)
{
	/* From the best to the worst. */
	static const int order[] = {EXIT_DONE,   EXIT_QUARANTINED, EXIT_NOT_YET, EXIT_UNANNOUNCED,
				    EXIT_ROSTER, EXIT_REFUSED,     EXIT_FAILED,  EXIT_USAGE};
	int worse = EXIT_DONE;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		worse = order[i] == one || order[i] == other ? order[i] : worse;
	return worse;
}
