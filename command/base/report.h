/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report: how the program ends, and what it says on standard error when that is not as it was
 * asked. Used by all of the command; uses text only. */
#ifndef SAFESTART_COMMAND_REPORT_H
#define SAFESTART_COMMAND_REPORT_H

/* How the program ends. `run` has env(1)'s codes instead. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_NOT_YET = 1, /* or timed out */
	EXIT_USAGE = 2,
	EXIT_REFUSED = 3,
	EXIT_FAILED = 4,
	EXIT_UNANNOUNCED = 5,
	EXIT_ROSTER = 6,
	EXIT_QUARANTINED = 7
};

/* Which verb the messages are of. */
void report_verb(const char *name);

/* One line, "safestart VERB: …", on standard error; returns `code`. */
int report(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Of two exit codes the one that matters more. */
int exit_code_worse(int one, int other);

#endif
