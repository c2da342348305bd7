/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define GAP 2

/* ---- The terminal ---- */

static bool is_drawn_in_colour(void)
{
	const char *no_color = getenv("NO_COLOR"),
		   *term = getenv("TERM"); /* NOLINT(concurrency-mt-unsafe): nobody sets them */

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

/* ---- Words ---- */

/* The next character and its bytes; U+FFFD for what is none. */
static wchar_t next_character(const char **at)
{
	mbstate_t state = {0};
	wchar_t character;
	size_t bytes =
		mbrtowc(&character, *at, strlen(*at),
			&state); /* NOLINT(concurrency-mt-unsafe): with a state of its own it is */

	if (bytes == 0 || bytes == (size_t)-1 || bytes == (size_t)-2) {
		bytes = 1;
		character = 0xfffd;
	}
	*at += bytes;
	return character;
}

/* Steering characters have no width, and those that turn the direction of writing can make a line
 * say something else. */
static bool is_printed(wchar_t character)
{
	return wcwidth(character) >= 0 && !(character >= 0x200b && character <= 0x200f) &&
	       !(character >= 0x2028 && character <= 0x202e) &&
	       !(character >= 0x2060 && character <= 0x206f) && character != 0xfeff;
}

char *words_clean(const char *text)
{
	/* A byte becomes three at most. */
	char *clean = malloc(strlen(text) * 3 + 1), *to = clean;

	while (clean != NULL && *text != '\0') {
		const char *from = text;
		wchar_t character = next_character(&text);
		bool fine = is_printed(character) && character != 0xfffd;
		to = fine ? mempcpy(to, from, (size_t)(text - from))
			  : stpcpy(to,
				   character == '\n' || character == '\t' ? " " : "\xef\xbf\xbd");
	}
	if (clean != NULL)
		*to = '\0';
	return clean;
}

void words_print(const char *text)
{
	char *clean = words_clean(text);

	fputs(clean != NULL ? clean : "(out of memory)", stdout);
	free(clean);
}

size_t words_width(const char *text)
{
	size_t width = 0;

	while (*text != '\0') {
		int columns = wcwidth(next_character(&text));
		width += columns > 0 ? (size_t)columns : 0;
	}
	return width;
}

struct span words_span(double seconds)
{
	struct span span;
	long whole = seconds > 0 ? (long)(seconds < 1e9 ? seconds : 1e9) : 0;

	if (seconds < 10)
		snprintf(span.text, sizeof(span.text), "%ld.%lds", whole,
			 (long)((seconds > 0 ? seconds - (double)whole : 0) * 10));
	else if (whole < 60)
		snprintf(span.text, sizeof(span.text), "%lds", whole);
	else if (whole < 3600)
		snprintf(span.text, sizeof(span.text), "%ldm%02lds", whole / 60, whole % 60);
	else if (whole < 48L * 3600)
		snprintf(span.text, sizeof(span.text), "%ldh%02ldm", whole / 3600, whole / 60 % 60);
	else
		snprintf(span.text, sizeof(span.text), "%ldd%02ldh", whole / 86400,
			 whole / 3600 % 24);
	return span;
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
	char *text = raw != NULL ? words_clean(raw) : NULL;
	free(raw);
	if (cells == NULL || text == NULL) {
		free(text);
		table->failed = true;
		return;
	}
	table->cells[table->count++] = (struct cell){text, colour};
}

static size_t *column_widths(const struct table *table)
{
	size_t *widths = calloc(table->columns, sizeof(*widths));

	for (size_t i = 0; widths != NULL && i < table->count; i++) {
		size_t width = words_width(table->cells[i].text);
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

/* As much of it as has room, with "…" where it was cut. Returns how wide that was. */
static size_t print_cut(const char *text, size_t room)
{
	size_t width = 0;

	if (words_width(text) <= room) {
		fputs(text, stdout);
		return words_width(text);
	}
	while (room > 0) {
		const char *from = text;
		int columns = wcwidth(next_character(&text));
		if (width + (size_t)(columns > 0 ? columns : 0) + 1 > room)
			break;
		fwrite(from, 1, (size_t)(text - from), stdout);
		width += (size_t)(columns > 0 ? columns : 0);
	}
	fputs(room > 0 ? "…" : "", stdout);
	return width + (room > 0);
}

static void print_row(const struct table *table, size_t row, const size_t *widths, size_t room)
{
	size_t last = table->columns;

	while (last > 0 && table->cells[row * table->columns + last - 1].text[0] == '\0')
		last--; /* no blanks at the end of a line */
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
