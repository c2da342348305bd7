/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report: exit codes, and messages on standard error. Everything in the command uses it; it uses
 * only text. */
#ifndef SAFESTART_COMMAND_REPORT_H
#define SAFESTART_COMMAND_REPORT_H

/* Exit codes of every verb but `run`, which has those of env(1). Playbooks compare them: never
 * renumber. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_NOT_YET = 1, /* also: timed out */
	EXIT_USAGE = 2,
	EXIT_REFUSED = 3,
	EXIT_FAILED = 4,
	EXIT_UNANNOUNCED = 5,
	EXIT_ROSTER = 6,
	EXIT_QUARANTINED = 7
};

/* Sets the verb that every message names. */
void report_verb(const char *name);

/* Prints "safestart VERB: …" as one line on standard error, control characters replaced. Returns
 * `code`, so that a caller can end with it; 0 for a warning or a note. */
int report(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The worse of two exit codes: where several processes or files were asked, the worst decides. */
int exit_code_worse(int one, int other);

#endif
