/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* table: what people look at: columns as wide as what is in them, colour only on a terminal, no
 * line wider than it. What came from elsewhere is cleaned first: it must not steer anybody's
 * terminal. */
#ifndef SAFESTART_COMMAND_TABLE_H
#define SAFESTART_COMMAND_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum colour {
	COLOUR_PLAIN,
	COLOUR_GOOD,
	COLOUR_WARN,
	COLOUR_BAD,
	COLOUR_FAINT,
	COLOUR_HEAD
};

struct cell {
	char *text;
	enum colour colour;
};

struct table {
	size_t columns;
	struct cell *cells; /* row by row */
	size_t count, room;
	bool failed; /* no memory */
};

void table_begin(struct table *table, size_t columns);
/* The next cell, from left to right, row after row. */
void table_cell(struct table *table, enum colour colour, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* How wide it is, at its widest line. */
size_t table_width(const struct table *table);
/* On standard output. A line that does not fit the terminal is cut, from its right. */
void table_print(const struct table *table);
void table_end(struct table *table);

/* ---- The terminal ---- */

size_t terminal_width(void); /* 0: there is none, lines have any length */
const char *colour_on(enum colour colour);
const char *colour_off(void);

#endif
