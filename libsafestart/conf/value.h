/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* value: what a setting's text means. Pure. Each parser fills in `to` or returns -EINVAL (-ENOMEM
 * for strings) with the reason, `to` untouched. */
#ifndef SAFESTART_VALUE_H
#define SAFESTART_VALUE_H

#include <stddef.h>

int value_string(const char *text, void *to, char *why,
		 size_t why_size); /* char **, allocated; "" is NULL */
int value_word(const char *text, void *to, char *why, size_t why_size); /* the same, not "" */
/* int64_t, nanoseconds. */
int value_duration(const char *text, void *to, char *why, size_t why_size);
/* The same, not 0. */
int value_positive_duration(const char *text, void *to, char *why, size_t why_size);
int value_size(const char *text, void *to, char *why, size_t why_size);  /* size_t, bytes, not 0 */
int value_count(const char *text, void *to, char *why, size_t why_size); /* size_t */
int value_port(const char *text, void *to, char *why, size_t why_size);  /* uint16_t */
int value_percent(const char *text, void *to, char *why, size_t why_size); /* unsigned, 0 to 100 */
int value_bool(const char *text, void *to, char *why, size_t why_size);    /* bool */
/* bool: "open" or "after_fork". */
int value_start(const char *text, void *to, char *why, size_t why_size);
int value_events(const char *text, void *to, char *why, size_t why_size);

/* How many letters have to change to get from one to the other. */
size_t value_distance(const char *a, const char *b);

#endif
