/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_text: a command as text: the default name, and the line in the file NAME.command by which
 * callers notice that one name is used for two commands, or for one in two directories. */
#ifndef SAFESTART_COMMAND_COMMAND_TEXT_H
#define SAFESTART_COMMAND_COMMAND_TEXT_H

#include <stddef.h>

#define COMMAND_TEXT_SIZE 4096

/* The default name: derived from the command and the user. Not from the directory: a hook, a
 * playbook and a shell start the same command in different ones, and must not run it beside each
 * other [P1]. */
void command_text_name(char *const *arguments, char *name, size_t size);

/* One line: a digest of command, current directory and PATH, and what a person reads of them. */
void command_text_line(char *const *arguments, char line[COMMAND_TEXT_SIZE]);

/* The message for a caller whose line is not the one inside. */
void command_text_differ(const char *ours, const char *theirs, char *why, size_t why_size);

#endif
