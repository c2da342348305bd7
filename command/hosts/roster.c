/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* roster: reads the roster from options or its file. Asks no process. */
#include "hosts/roster.h"

#include "base/options.h"
#include "base/report.h"
#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct roster_row *roster_find(const struct roster *roster, const char *name)
{
	for (size_t i = 0; i < roster->count; i++) {
		if (strcmp(roster->rows[i].name, name) == 0)
			return &roster->rows[i];
	}
	return NULL;
}

void roster_free(struct roster *roster)
{
	for (size_t i = 0; i < roster->count; i++)
		free(roster->rows[i].name);
	free(roster->rows);
	*roster = (struct roster){0};
}

/* The last count given for a name is used. False: malformed, or no memory. */
static bool add(struct roster *roster, const char *name, size_t length, const char *count)
{
	size_t digits = strspn(count, "0123456789");
	char *copy = strndup(name, length);
	struct roster_row *row =
		copy != NULL ? (struct roster_row *)roster_find(roster, copy) : NULL;

	if (length == 0 || digits == 0 || digits > 6 ||
	    count[digits + strspn(count + digits, " \t\r\n")] != '\0' || copy == NULL) {
		free(copy);
		return false;
	}
	if (row == NULL) {
		struct roster_row *rows =
			realloc(roster->rows, (roster->count + 1) * sizeof(*rows));
		if (rows == NULL) {
			free(copy);
			return false;
		}
		roster->rows = rows;
		row = &rows[roster->count++];
		*row = (struct roster_row){.name = copy};
	} else {
		free(copy);
	}
	row->count = (unsigned)strtoul(count, NULL, 10);
	return true;
}

/* Empty lines and lines that begin with # are skipped. */
static int read_file(struct roster *roster, FILE *file, const char *path)
{
	char line[512];
	unsigned number = 0;

	while (fgets(line, sizeof(line), file) != NULL) {
		size_t start = strspn(line, " \t"), length = strcspn(line + start, " \t\r\n"),
		       gap = strspn(line + start + length, " \t");
		number++;
		if (line[start] == '#' || length == 0)
			continue;
		if (!add(roster, line + start, length, line + start + length + gap))
			return report(EXIT_FAILED,
				      "%s, line %u: expected a name and a number of processes, "
				      "such as: api 4",
				      path, number);
	}
	return 0;
}

int roster_read(struct roster *roster, const struct option_list *given, const char *directory,
		bool needed)
{
	int code = 0;

	*roster = (struct roster){0};
	for (size_t i = 0; code == 0 && i < given->count; i++) {
		const char *equals = strrchr(given->at[i], '=');
		if (equals == NULL ||
		    !add(roster, given->at[i], (size_t)(equals - given->at[i]), equals + 1))
			code = report(EXIT_USAGE,
				      "--roster: \"%s\" is not a name and a count, such as api=4",
				      given->at[i]);
	}
	if (code == 0 && given->count == 0) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/roster", directory);
		FILE *file = fopen(path, "re");
		if (file != NULL) {
			code = read_file(roster, file, path);
			fclose(file);
		} else if (errno != ENOENT) {
			code = report(EXIT_FAILED, "cannot read the roster: %s: %s",
				      safestart_strerror(errno), path);
		}
	}
	if (code == 0 && roster->count == 0)
		code = !needed ? EXIT_ROSTER
			       : report(EXIT_ROSTER,
					"no roster: which processes must have the node? Give "
					"--roster api=4, or lines such as \"api 4\" in %s/roster; "
					"with --no-roster only the processes that are running "
					"count, and one that is down is not noticed",
					directory);
	if (code != 0)
		roster_free(roster);
	return code;
}
