/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* table: cells are collected, measured, then printed. Reads the environment and the terminal's
 * size; keeps no state of its own. */
#include "base/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/text.h"

#define GAP 2

/* ---- The terminal ---- */

/* https://no-color.org, and terminals that have no colours. */
static bool is_drawn_in_colour(void)
{
	/* Nothing here sets the environment. NOLINTBEGIN(concurrency-mt-unsafe) */
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	/* NOLINTEND(concurrency-mt-unsafe) */

	return isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}

size_t terminal_width(void)
{
	struct winsize size;

	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col
										     : 0;
}

const char *colour_on(enum colour colour)
{
	static const char *const codes[] = {"",         "\033[32m", "\033[33m",
					    "\033[31m", "\033[2m",  "\033[1m"};

	return is_drawn_in_colour() ? codes[colour] : "";
}

const char *colour_off(void)
{
	return is_drawn_in_colour() ? "\033[0m" : "";
}

/* ---- The table ---- */

void table_begin(struct table *table, size_t columns)
{
	*table = (struct table){.columns = columns};
}

void table_cell(struct table *table, enum colour colour, const char *format, ...)
{
	va_list arguments;
	char *raw = NULL;
	struct cell *cells = table->cells;

	if (table->count == table->room) {
		cells = realloc(table->cells, (table->room * 2 + 64) * sizeof(*cells));
		if (cells != NULL) {
			table->cells = cells;
			table->room = table->room * 2 + 64;
		}
	}
	va_start(arguments, format);
	if (vasprintf(&raw, format, arguments) < 0)
		raw = NULL;
	va_end(arguments);
	char *text = raw != NULL ? text_clean(raw) : NULL;
	free(raw);
	if (cells == NULL || text == NULL) {
		free(text);
		table->failed = true;
		return;
	}
	table->cells[table->count++] = (struct cell){text, colour};
}

/* The caller frees them; NULL: no memory. */
static size_t *column_widths(const struct table *table)
{
	size_t *widths = calloc(table->columns, sizeof(*widths));

	for (size_t i = 0; widths != NULL && i < table->count; i++) {
		size_t width = text_width(table->cells[i].text);
		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	return widths;
}

size_t table_width(const struct table *table)
{
	size_t *widths = column_widths(table), width = 0;

	for (size_t i = 0; widths != NULL && i < table->columns; i++)
		width += widths[i] + (i > 0 ? GAP : 0);
	free(widths);
	return width;
}

/* Prints as much as fits, with "…" where it is cut. Returns the columns used. */
static size_t print_cut(const char *text, size_t room)
{
	size_t width = 0;

	if (text_width(text) <= room) {
		fputs(text, stdout);
		return text_width(text);
	}
	while (room > 0) {
		const char *from = text;
		int columns = wcwidth(text_next(&text));
		if (width + (size_t)(columns > 0 ? columns : 0) + 1 > room)
			break;
		fwrite(from, 1, (size_t)(text - from), stdout);
		width += (size_t)(columns > 0 ? columns : 0);
	}
	fputs(room > 0 ? "…" : "", stdout);
	return width + (room > 0);
}

/* `room`: columns that are left on the line. */
static void print_row(const struct table *table, size_t row, const size_t *widths, size_t room)
{
	size_t last = table->columns;

	while (last > 0 && table->cells[row * table->columns + last - 1].text[0] == '\0')
		last--; /* no spaces at the end of a line */
	for (size_t i = 0; i < last && room > 0; i++) {
		const struct cell *cell = &table->cells[row * table->columns + i];
		fputs(colour_on(cell->colour), stdout);
		size_t used = print_cut(cell->text, room);
		fputs(cell->colour != COLOUR_PLAIN ? colour_off() : "", stdout);
		room -= used;
		size_t blanks =
			i + 1 < last ? widths[i] - (used < widths[i] ? used : widths[i]) + GAP : 0;
		if (blanks > room)
			blanks = room;
		printf("%*s", (int)blanks, "");
		room -= blanks;
	}
	fputc('\n', stdout);
}

void table_print(const struct table *table)
{
	size_t *widths = column_widths(table), room = terminal_width();

	if (widths == NULL || table->failed)
		fputs("(out of memory)\n", stdout);
	else
		for (size_t row = 0; (row + 1) * table->columns <= table->count; row++)
			print_row(table, row, widths, room > 0 ? room : SIZE_MAX / 2);
	free(widths);
}

void table_end(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	*table = (struct table){0};
}
