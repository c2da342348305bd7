/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drop the character that ends in the middle, if any: bindings decode these strings as UTF-8. */
static void trim_partial_character(char *text)
{
	size_t length = strlen(text), start = length;

	while (start > 0 && length - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t needed = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (length - (start - 1) < needed)
		text[start - 1] = '\0';
}

int why_say(char *why, size_t why_size, int error, const char *format, ...)
{
	va_list arguments;

	if (why == NULL || why_size == 0)
		return error;
	va_start(arguments, format);
	int length = vsnprintf(why, why_size, format, arguments);
	va_end(arguments);
	if (length < 0)
		why[0] = '\0';
	else if ((size_t)length >= why_size)
		trim_partial_character(why);
	return error;
}

void why_copy(char *to, size_t size, const char *from)
{
	size_t length = strnlen(from, size - 1);

	memcpy(to, from, length);
	to[length] = '\0';
	if (from[length] != '\0')
		trim_partial_character(to);
}

struct why_duration why_duration(long long ns)
{
	struct why_duration d;
	long long ms = ns / 1000000, s = ms / 1000;

	if (ns > 0 && ns < 1000000)
		snprintf(d.text, sizeof(d.text), "%lldus", ns / 1000);
	else if (ms < 10000)
		snprintf(d.text, sizeof(d.text), "%lldms", ms < 0 ? 0 : ms);
	else if (s < 120)
		snprintf(d.text, sizeof(d.text), "%llds", s);
	else if (s < 7200)
		snprintf(d.text, sizeof(d.text), "%lldm%02llds", s / 60, s % 60);
	else
		snprintf(d.text, sizeof(d.text), "%lldh%02lldm", s / 3600, s / 60 % 60);
	return d;
}
