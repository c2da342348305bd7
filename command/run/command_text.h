/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_text: a command as text: the default name, and the line in the file NAME.command by which
 * callers notice that one name is used for two commands. */
#ifndef SAFESTART_COMMAND_COMMAND_TEXT_H
#define SAFESTART_COMMAND_COMMAND_TEXT_H

#include <stddef.h>

#define COMMAND_TEXT_SIZE 4096

/* The default name: derived from the command, the current directory and the user. */
void command_text_name(char *const *arguments, char *name, size_t size);

/* One line: a digest of everything, and what a person reads. */
void command_text_line(char *const *arguments, char line[COMMAND_TEXT_SIZE]);

/* The message for a caller whose line is not the one inside. */
void command_text_differ(const char *ours, const char *theirs, char *why, size_t why_size);

#endif
