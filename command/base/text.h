/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* text: words for people. What came from elsewhere is cleaned first. */
#ifndef SAFESTART_COMMAND_TEXT_H
#define SAFESTART_COMMAND_TEXT_H

#include <stddef.h>
#include <wchar.h>

/* A copy without anything that is not a printed character, to be freed; NULL: no memory. */
char *text_clean(const char *text);
void text_print(const char *text);   /* so, on standard output */
size_t text_width(const char *text); /* columns on a terminal */

struct duration {
	char text[24];
};
struct duration text_duration(double seconds); /* "4m12s" */

/* The next character and its bytes; U+FFFD for what is none. */
wchar_t text_next(const char **at);

#endif
