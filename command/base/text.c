/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* text: cleans and measures text in UTF-8. Relies on main() having set a UTF-8 locale; keeps no
 * state. */
#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

wchar_t text_next(const char **at)
{
	mbstate_t state = {0};
	wchar_t character;
	/* It has a state of its own. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	size_t bytes = mbrtowc(&character, *at, strlen(*at), &state);

	/* Invalid or incomplete: one byte is skipped, so that the walk always ends. */
	if (bytes == 0 || bytes == (size_t)-1 || bytes == (size_t)-2) {
		bytes = 1;
		character = 0xfffd;
	}
	*at += bytes;
	return character;
}

/* Control characters have no width. Those that change the direction of writing, or are invisible,
 * could make a line read as something else. */
static bool is_printed(wchar_t character)
{
	return wcwidth(character) >= 0 && !(character >= 0x200b && character <= 0x200f) &&
	       !(character >= 0x2028 && character <= 0x202e) &&
	       !(character >= 0x2060 && character <= 0x206f) && character != 0xfeff;
}

char *text_clean(const char *text)
{
	/* One byte becomes at most three: U+FFFD. */
	char *clean = malloc(strlen(text) * 3 + 1), *to = clean;

	while (clean != NULL && *text != '\0') {
		const char *from = text;
		wchar_t character = text_next(&text);
		bool ok = is_printed(character) && character != 0xfffd;
		to = ok ? mempcpy(to, from, (size_t)(text - from))
			: stpcpy(to, character == '\n' || character == '\t' ? " " : "\xef\xbf\xbd");
	}
	if (clean != NULL)
		*to = '\0';
	return clean;
}

void text_print(const char *text)
{
	char *clean = text_clean(text);

	fputs(clean != NULL ? clean : "(out of memory)", stdout);
	free(clean);
}

size_t text_width(const char *text)
{
	size_t width = 0;

	while (*text != '\0') {
		int columns = wcwidth(text_next(&text));
		width += columns > 0 ? (size_t)columns : 0;
	}
	return width;
}

/* Two units at most: enough to judge how long, and short in a table. */
struct duration text_duration(double seconds)
{
	struct duration span;
	long whole = seconds > 0 ? (long)(seconds < 1e9 ? seconds : 1e9) : 0;

	if (seconds < 10)
		snprintf(span.text, sizeof(span.text), "%ld.%ld s", whole,
			 (long)((seconds > 0 ? seconds - (double)whole : 0) * 10));
	else if (whole < 60)
		snprintf(span.text, sizeof(span.text), "%ld s", whole);
	else if (whole < 3600)
		snprintf(span.text, sizeof(span.text), "%ldm%02lds", whole / 60, whole % 60);
	else if (whole < 48L * 3600)
		snprintf(span.text, sizeof(span.text), "%ldh%02ldm", whole / 3600, whole / 60 % 60);
	else
		snprintf(span.text, sizeof(span.text), "%ldd%02ldh", whole / 86400,
			 whole / 3600 % 24);
	return span;
}
