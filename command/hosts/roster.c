/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* roster: reads the roster from options or its file. Asks no process. */
#include "hosts/roster.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/options.h"
#include "base/report.h"

#define ROSTER_SIZE ((size_t)1 << 20)

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

/* Empty lines and lines that begin with # are skipped. "api=4", as --roster takes it, is a line
 * too: a space and a = before the count mean the same. */
static int read_lines(struct roster *roster, char *text, const char *path)
{
	char *line;

	for (unsigned number = 1; (line = strsep(&text, "\n")) != NULL; number++) {
		size_t start = strspn(line, " \t\r"), end = strlen(line);
		while (end > start && strchr(" \t\r", line[end - 1]) != NULL)
			end--;
		line[end] = '\0';
		if (line[start] == '#' || end == start)
			continue;
		size_t count = end, length;
		while (count > start && line[count - 1] >= '0' && line[count - 1] <= '9')
			count--;
		for (length = count; length > start && strchr(" \t=", line[length - 1]) != NULL;)
			length--;
		if (length == count || !add(roster, line + start, length - start, line + count))
			return report(EXIT_FAILED,
				      "the roster has a wrong line, \"%.100s\": expected a name "
				      "and a number of processes, such as: api 4; it is line %u of "
				      "%s",
				      line + start, number, path);
	}
	return 0;
}

/* A roster counts if it is of this user, of root, or of the owner of the directory. */
static bool is_trusted(uid_t owner, const char *directory)
{
	struct stat status;

	return owner == 0 || owner == geteuid() ||
	       (stat(directory, &status) == 0 && owner == status.st_uid);
}

static int read_file(struct roster *roster, const char *directory)
{
	char path[4096];
	struct file_text file;
	int code = 0;

	snprintf(path, sizeof(path), "%s/roster", directory);
	int error = file_read(path, ROSTER_SIZE, &file);
	if (error == -ENOENT)
		return 0;
	if (error == -ELOOP || error == -EINVAL)
		code = report(EXIT_FAILED,
			      "the roster is %s; put a file in its place, or give --roster: %s",
			      error == -ELOOP ? "a symbolic link, which is not followed"
					      : "not a file",
			      path);
	else if (error < 0)
		code = report(EXIT_FAILED, "cannot read the roster: %s: %s",
			      safestart_strerror(error), path);
	else if (!is_trusted(file.status.st_uid, directory))
		code = report(EXIT_FAILED,
			      "the roster belongs to user %u, to whom the directory does not "
			      "belong: "
			      "ignored; remove it, or give --roster: %s",
			      (unsigned)file.status.st_uid, path);
	else
		code = read_lines(roster, file.text, path);
	free(file.text);
	return code;
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
	if (code == 0 && given->count == 0)
		code = read_file(roster, directory);
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
