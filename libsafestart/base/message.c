/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* message: every word that leaves the library passes here: cut between characters, one line, valid
 * UTF-8. Pure; any thread. */
#include "base/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How many bytes the character at `text` has; 0: it is none. Overlong forms, surrogates and what
 * lies beyond Unicode are none, as for every decoder these strings may meet. */
static size_t character(const unsigned char *text)
{
	static const struct {
		unsigned char from, to, second_from, second_to, size;
	} forms[] = {{0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
		     {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		     {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		     {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		     {0xf4, 0xf4, 0x80, 0x8f, 4}};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (text[0] < forms[i].from || text[0] > forms[i].to)
			continue;
		if (forms[i].size > 1 &&
		    (text[1] < forms[i].second_from || text[1] > forms[i].second_to))
			return 0;
		for (size_t j = 2; j < forms[i].size; j++) {
			if ((text[j] & 0xc0) != 0x80)
				return 0;
		}
		return forms[i].size;
	}
	return 0;
}

size_t message_character(const char *text, size_t length)
{
	unsigned char first[5] = {0};

	memcpy(first, text, length < 4 ? length : 4);
	return character(first);
}

bool message_is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at != '\0') {
		size_t size = character(at);
		if (size == 0)
			return false;
		at += size;
	}
	return true;
}

void message_clean(char *text)
{
	unsigned char *at = (unsigned char *)text;

	while (*at != '\0') {
		size_t size = character(at);
		/* A path in another encoding; a line break that would forge a line of the log. */
		if (size == 0 || *at < 0x20 || *at == 0x7f)
			*at = '?';
		at += size > 0 ? size : 1;
	}
}

/* Drop the character that was cut in the middle, if any. */
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

/* Formats, so that a failure is one statement: `return message_set(why, size, -EINVAL, …)`. */
int message_set(char *why, size_t why_size, int error, const char *format, ...)
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
	message_clean(why);
	return error;
}

void message_copy(char *to, size_t size, const char *from)
{
	size_t length = strnlen(from, size - 1);

	memcpy(to, from, length);
	to[length] = '\0';
	if (from[length] != '\0')
		trim_partial_character(to);
	message_clean(to);
}

struct message_duration message_duration(long long ns)
{
	struct message_duration d;
	long long ms = ns / 1000000, s = ms / 1000;

	if (ns > 0 && ns < 1000000)
		snprintf(d.text, sizeof(d.text), "%lld us", ns / 1000);
	else if (ms < 10000)
		snprintf(d.text, sizeof(d.text), "%lld ms", ms < 0 ? 0 : ms);
	else if (s < 120)
		snprintf(d.text, sizeof(d.text), "%lld s", s);
	else if (s < 7200)
		snprintf(d.text, sizeof(d.text), "%lldm%02llds", s / 60, s % 60);
	else
		snprintf(d.text, sizeof(d.text), "%lldh%02lldm", s / 3600, s / 60 % 60);
	return d;
}
