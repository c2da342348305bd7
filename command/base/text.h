/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* text: what is printed for people. Text from other processes and files is cleaned first, so that
 * it cannot control a terminal. Pure, but for text_print(). */
#ifndef SAFESTART_COMMAND_TEXT_H
#define SAFESTART_COMMAND_TEXT_H

#include <stddef.h>
#include <wchar.h>

/* A copy in which every character that is not printable is replaced; the caller frees it. NULL: no
 * memory. */
char *text_clean(const char *text);
void text_print(const char *text);   /* cleaned, on standard output */
size_t text_width(const char *text); /* columns on a terminal */

struct duration {
	char text[24];
};
struct duration text_duration(double seconds); /* "0.4 s", "31 s", "4m12s", "3h07m" */

/* The next character; *at moves behind it. U+FFFD where the bytes are not valid UTF-8. */
wchar_t text_next(const char **at);

#endif
