/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scan: walks over JSON text, judges it and builds nothing: what is skipped costs no memory,
 * however large it is, and no stack, however deep. Any thread; pure, knows nothing of what it
 * reads. */
#ifndef SAFESTART_BASE_SCAN_H
#define SAFESTART_BASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* How deep arrays and objects may be nested in text that comes from outside. jansson parses by
 * recursion and allows 2048, which a small stack does not survive: it gets what was scanned. */
#define SCAN_DEPTH_MAX 32

enum scan_fault {
	SCAN_FINE,
	SCAN_ENDS,  /* the text ends before the value does */
	SCAN_UTF8,  /* a string is not UTF-8 */
	SCAN_DEEP,  /* more than SCAN_DEPTH_MAX arrays and objects inside each other */
	SCAN_SYNTAX /* it is not JSON */
};

struct scan {
	const char *text; /* need not end in a NUL byte */
	size_t length, at;
	size_t depth; /* of the arrays and objects that were entered */
	enum scan_fault fault;
	const char *words; /* what is wrong at `at`; constant */
};

/* Moves over white space. Returns: the byte that follows; NUL at the end of the text. */
char scan_peek(struct scan *scan);

/* Moves over one whole value. Returns: false when it is malformed; `fault` says how, `at` where. */
bool scan_value(struct scan *scan);

/* Moves over the bracket of an array or object: scan_next() then moves to its first element or
 * key. */
bool scan_enter(struct scan *scan);
/* Returns: true before an element or a key; false behind the closing bracket, or at a fault.
 * *count (0 before the first call) becomes the number of this element. */
bool scan_next(struct scan *scan, char closing, size_t *count);
/* Moves over a key and its colon, to its value. */
bool scan_key(struct scan *scan);

/* Notes a fault at `at`. Returns: false. */
bool scan_fail(struct scan *scan, enum scan_fault fault, const char *words);

/* What the string that begins at `at` says, with a NUL byte behind it: never longer than the
 * string itself is with its quotes. The string was scanned before. Returns: its length. */
size_t scan_decode(const struct scan *scan, size_t at, char *to);

/* What value begins with that byte, in words: "an object". */
const char *scan_type_name(char first);

#endif
