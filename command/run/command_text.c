/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_text: digests and quotes a command. Pure but for the user and the current directory. */
#include "run/command_text.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
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
	char directory[COMMAND_TEXT_SIZE] = "", base[41];
	const char *slash = strrchr(arguments[0], '/');
	uid_t user = geteuid();

	uint64_t hash = hash_bytes(HASH_START, &user, sizeof(user));
	if (getcwd(directory, sizeof(directory)) != NULL)
		hash = hash_bytes(hash, directory, strlen(directory) + 1);
	hash = hash_arguments(hash, arguments);
	snprintf(base, sizeof(base), "%s", slash != NULL ? slash + 1 : arguments[0]);
	for (char *at = base; *at != '\0'; at++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			   *at) == NULL)
			*at = '_';
	}
	snprintf(name, size, "%s-%016llx", base, (unsigned long long)hash);
}

/* The command on one line, quoted for a shell. What does not fit is left out; the digest in front
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

void command_text_line(char *const *arguments, char line[COMMAND_TEXT_SIZE])
{
	size_t length = (size_t)snprintf(line, COMMAND_TEXT_SIZE, "%016llx ",
					 (unsigned long long)hash_arguments(HASH_START, arguments));

	quote(arguments, line + length, COMMAND_TEXT_SIZE - length - 2);
	length = strlen(line);
	snprintf(line + length, COMMAND_TEXT_SIZE - length, "\n");
}

/* Both commands on lines of their own: they are often long, and differ in their ends. */
void command_text_differ(const char *ours, const char *theirs, char *why, size_t why_size)
{
	const char *words = strchr(theirs, ' ');

	snprintf(why, why_size,
		 "this name is in use for another command:\n  inside: %.*s\n  yours:  %.*s\nGive "
		 "yours another --name.",
		 words != NULL ? (int)strcspn(words + 1, "\n") : 0, words != NULL ? words + 1 : "",
		 (int)strcspn(strchr(ours, ' ') + 1, "\n"), strchr(ours, ' ') + 1);
}
