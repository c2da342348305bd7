/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* table: columns as wide as their contents, in colour on a terminal only, and no line wider than
 * it. Cells are cleaned first, so that text from other processes cannot control a terminal. */
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
	struct cell *cells; /* rows one after the other */
	size_t count, room;
	bool failed; /* no memory */
};

void table_begin(struct table *table, size_t columns);
/* Appends a cell: left to right, row after row. */
void table_cell(struct table *table, enum colour colour, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Width of the widest line, in columns of a terminal. */
size_t table_width(const struct table *table);
/* Prints it on standard output. A line wider than the terminal is cut at its right end. */
void table_print(const struct table *table);
void table_end(struct table *table);

/* ---- The terminal ---- */

size_t terminal_width(void); /* 0: not a terminal, lines may have any length */
const char *colour_on(enum colour colour);
const char *colour_off(void);

#endif
