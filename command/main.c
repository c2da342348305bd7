/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safestart: see and steer every process that uses libsafestart on this host. */
#include <jansson.h>
#include <locale.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/help.h"
#include "base/report.h"
#include "verbs/verbs.h"

/* Output that could not be written (a full disk behind a redirection) is a failure too. */
static int check_output(int code)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE)
		return report(EXIT_FAILED, "the output could not be written in full");
	return code;
}

static int without_memory = EXIT_FAILED;

/* Where a buffer can't grow jansson 2.14 loses bytes without a word, and writes behind the end of
 * others. A program may end instead; files are replaced whole or not at all, and locks go with it.
 */
static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (memory == NULL && size > 0)
		exit(report(without_memory,
			    "out of memory")); /* Nobody registered anything to be called.
						  NOLINT(concurrency-mt-unsafe) */
	return memory;
}

int main(int argc, char **argv)
{
	json_set_alloc_funcs(allocate, free);
	(void)setlocale(LC_CTYPE,
			"C.UTF-8"); /* what is drawn is UTF-8, and as wide as that says. No other
				       thread is there. NOLINT(concurrency-mt-unsafe) */
	if (argc < 2) {
		help_all(verbs, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help_all(verbs, stdout);
		return check_output(EXIT_DONE);
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("safestart %s\n", safestart_version());
		return check_output(EXIT_DONE);
	}
	const struct verb *verb = verbs_find(argv[1]);
	if (verb == NULL)
		return verbs_report_unknown(argv[1]);
	report_verb(verb->name);
	/* Smaller ones are its command's. */
	without_memory = verb == &verb_run ? 125 : EXIT_FAILED;
	return check_output(verb->main(argc - 1, argv + 1));
}
