/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_text: digests and quotes a command. Pure but for the user, the current
 * directory and PATH. */
#include "run/command_text.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a. Not against attackers: a collision only makes two commands share a name. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_arguments(uint64_t hash, char *const *arguments)
{
	for (; *arguments != NULL; arguments++)
		hash = hash_bytes(hash, *arguments,
				  strlen(*arguments) + 1); /* with the NUL, so that "a b" differs
							      from "a", "b" */
	return hash;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

void command_text_name(char *const *arguments, char *name, size_t size)
{
	char base[41];
	const char *slash = strrchr(arguments[0], '/');
	uid_t user = geteuid();

	uint64_t hash = hash_bytes(HASH_START, &user, sizeof(user));
	hash = hash_arguments(hash, arguments);
	snprintf(base, sizeof(base), "%s", slash != NULL ? slash + 1 : arguments[0]);
	for (char *at = base; *at != '\0'; at++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			   *at) == NULL)
			*at = '_';
	}
	snprintf(name, size, "%s-%016llx", base, (unsigned long long)hash);
}

/* The arguments on one line, quoted for a shell. What does not fit is left out; the digest in front
 * of it covers everything. */
static void quote(char *const *arguments, char *text, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; arguments[i] != NULL; i++) {
		const char *argument = arguments[i];
		bool plain = argument[0] != '\0' &&
			     strspn(argument, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789_-./:=,+@%") == strlen(argument);
		if (length + 8 >= size)
			break;
		length += (size_t)snprintf(text + length, size - length, "%s%s", i > 0 ? " " : "",
					   plain ? "" : "'");
		for (; *argument != '\0' && length + 8 < size; argument++) {
			unsigned char character = (unsigned char)*argument;
			if (character == '\'')
				length += (size_t)snprintf(text + length, size - length, "'\\''");
			else
				text[length++] =
					(char)(character < 0x20 || character == 0x7f ? '?'
										     : character);
		}
		length += (size_t)snprintf(text + length, size - length, "%s", plain ? "" : "'");
		text[length] = '\0';
	}
}

/* What is shown of each; the digest covers all of it. */
#define COMMAND_SHOWN 2400
#define PLACE_SHOWN 800

/* Fields are separated by tabs, which quote() leaves in none of them. The directory and PATH are
 * part of it, because they decide what the same words do [P1]. */
void command_text_line(char *const *arguments, char line[COMMAND_TEXT_SIZE])
{
	char command[COMMAND_SHOWN], directory[PLACE_SHOWN] = "", path[PLACE_SHOWN] = "";
	char working_directory[PATH_MAX] = "?";
	char *search_path = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe) */

	/* One that was removed or lies outside of the root has no name; such are taken as one. */
	if (getcwd(working_directory, sizeof(working_directory)) == NULL)
		working_directory[0] = '?';
	char *const places[] = {working_directory, search_path, NULL};
	uint64_t hash = hash_arguments(hash_arguments(HASH_START, arguments), places);
	quote(arguments, command, sizeof(command));
	quote((char *const[]){working_directory, NULL}, directory, sizeof(directory));
	if (search_path != NULL)
		quote((char *const[]){search_path, NULL}, path, sizeof(path));
	snprintf(line, COMMAND_TEXT_SIZE, "%016llx\t%s\t%s\t%s\n", (unsigned long long)hash,
		 command, directory, path);
}

/* Field 1 is the command, 2 the directory, 3 PATH. */
static int field(const char *line, int number, const char **begin)
{
	for (; number > 0 && *line != '\0'; number--) {
		line += strcspn(line, "\t");
		line += *line != '\0';
	}
	*begin = line;
	return (int)strcspn(line, "\t\n");
}

/* The remedy before the two texts, which may be long. */
void command_text_differ(const char *ours, const char *theirs, char *why, size_t why_size)
{
	static const struct {
		int field;
		const char *what, *remedy;
	} differences[] = {{2, "for this command in another directory",
			    "start both in the same directory (cd), or give yours another --name"},
			   {3, "for this command with another PATH",
			    "start both with the same PATH, or give yours another --name"},
			   {1, "for another command", "give yours another --name"}};
	const char *inside, *yours;
	int inside_length = field(theirs, 1, &inside), length = field(ours, 1, &yours);
	size_t at = 2;

	if (inside_length == length && strncmp(inside, yours, (size_t)length) == 0) {
		for (at = 0; at < 2; at++) {
			inside_length = field(theirs, differences[at].field, &inside);
			length = field(ours, differences[at].field, &yours);
			if (inside_length != length || strncmp(inside, yours, (size_t)length) != 0)
				break;
		}
	}
	inside_length = field(theirs, differences[at].field, &inside);
	length = field(ours, differences[at].field, &yours);
	snprintf(why, why_size, "this name is in use %s; %s; inside: %.*s; yours: %.*s",
		 differences[at].what, differences[at].remedy, inside_length, inside, length,
		 yours);
}
