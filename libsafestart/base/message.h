/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* message: errors in words, into the caller's buffer. Pure; used by every room. */
#ifndef SAFESTART_WHY_H
#define SAFESTART_WHY_H

#include <stdbool.h>
#include <stddef.h>

/* Write the words and return `error`, so that a failure is one statement. `why` may be NULL. What
 * does not fit is cut between characters, never inside one. The result is UTF-8. */
int message_set(char *why, size_t why_size, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* As strcpy, into `size` bytes, cut between characters; the result is UTF-8. */
void message_copy(char *to, size_t size, const char *from);

/* Is it UTF-8? / Make it so, without control characters: what is not becomes '?'. Words always are:
 * bindings and JSON decode them, logs have them in one line. */
bool message_is_utf8(const char *text);
/* How many bytes the character has that begins a text of `length` bytes; 0: it is none. */
size_t message_character(const char *text, size_t length);
void message_clean(char *text);

/* A number of nanoseconds for people: "850 ms", "4m12s". */
struct message_duration {
	char text[32];
};
struct message_duration message_duration(long long ns);

#endif
