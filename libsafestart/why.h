/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* why: errors in words, into the caller's buffer. Pure; used by every room. */
#ifndef SAFESTART_WHY_H
#define SAFESTART_WHY_H

#include <stddef.h>

/* Write the words and return `error`, so that a failure is one statement. `why` may be NULL. What
 * does not fit is cut between characters, never inside one. */
int why_say(char *why, size_t why_size, int error, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* As strcpy, into `size` bytes, cut between characters. */
void why_copy(char *to, size_t size, const char *from);

/* A number of nanoseconds for people: "850ms", "4m12s". */
struct why_duration {
	char text[32];
};
struct why_duration why_duration(long long ns);

#endif
