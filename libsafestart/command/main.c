/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safestart: see and steer every process that uses libsafestart on this host. */
#include <locale.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "help.h"

/* Output that could not be written (a full disk behind a redirection) is a failure too. */
static int written(int leave)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && leave == LEAVE_DONE)
		return say(LEAVE_FAILED, "the output could not be written in full");
	return leave;
}

int main(int argc, char **argv)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* what is drawn is UTF-8, and as wide as that says. No other thread is there. NOLINT(concurrency-mt-unsafe) */
	if (argc < 2) {
		help_all(stderr);
		return LEAVE_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help_all(stdout);
		return written(LEAVE_DONE);
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("safestart %s\n", safestart_version());
		return written(LEAVE_DONE);
	}
	const struct verb *verb = verbs_find(argv[1]);
	if (verb == NULL)
		return verbs_none(argv[1]);
	say_verb(verb->name);
	return written(verb->main(argc - 1, argv + 1));
}
