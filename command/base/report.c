/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

static const char *verb_name;

void report_verb(const char *name)
{
	verb_name = name;
}

int report(int code, const char *format, ...)
{
	va_list arguments;
	char line[4096];

	/* In one piece: many of us may write to the same terminal or file. */
	int prefix = snprintf(line, sizeof(line), "safestart%s%s: ", verb_name != NULL ? " " : "",
			      verb_name != NULL ? verb_name : "");
	va_start(arguments, format);
	vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, arguments);
	va_end(arguments);
	char *clean = text_clean(line); /* names of files and what others answer may be in it */
	snprintf(line, sizeof(line), "%s\n", clean != NULL ? clean : "safestart: out of memory");
	free(clean);
	fputs(line, stderr);
	return code;
}

int exit_code_worse(int one, int other)
{
	static const int order[] = {EXIT_DONE,   EXIT_QUARANTINED, EXIT_NOT_YET, EXIT_UNANNOUNCED,
				    EXIT_ROSTER, EXIT_REFUSED,     EXIT_FAILED,  EXIT_USAGE};
	int worse = EXIT_DONE;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		worse = order[i] == one || order[i] == other ? order[i] : worse;
	return worse;
}
