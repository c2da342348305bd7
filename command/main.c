/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* main: the program `safestart`. Sets up jansson's memory and the locale, then runs the verb. Uses
 * the library's public functions only, as all of the command does. */
#include <jansson.h>
#include <locale.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/help.h"
#include "base/report.h"
#include "verbs/verbs.h"

/* Output that could not be written, such as on a full disk, is a failure too. */
static int check_output(int code)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE)
		return report(EXIT_FAILED, "cannot write all of the output: is the disk full?");
	return code;
}

static int without_memory = EXIT_FAILED;

/* Where a buffer cannot grow, jansson 2.14 silently loses bytes or writes behind the end of another
 * buffer. So the program ends instead: files are replaced as a whole or not at all, and locks die
 * with the process [P18]. */
static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (memory == NULL && size > 0)
		/* There are no atexit handlers. NOLINTNEXTLINE(concurrency-mt-unsafe) */
		exit(report(without_memory, "out of memory"));
	return memory;
}

int main(int argc, char **argv)
{
	json_set_alloc_funcs(allocate, free);
	/* Output is UTF-8, and wcwidth() measures it. There is no other thread yet.
	 * NOLINTNEXTLINE(concurrency-mt-unsafe) */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
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
	/* `run` leaves the smaller codes to its command. */
	without_memory = verb == &verb_run ? 125 : EXIT_FAILED;
	return check_output(verb->main(argc - 1, argv + 1));
}
