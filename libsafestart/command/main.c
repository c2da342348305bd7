/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safestart: see and steer every process that uses libsafestart on this host. The table of verbs; each is a file of its own. */
#include <locale.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "help.h"

const struct verb *const verbs[] = {&verb_status, &verb_nodes, &verb_events, &verb_metrics, &verb_request, &verb_wait, &verb_announce, &verb_withdraw, &verb_drain, &verb_monitor, &verb_check, &verb_run, &verb_help, &verb_complete, NULL};

static const struct verb *find_verb(const char *name)
{
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if (strcmp((*verb)->name, name) == 0)
			return *verb;
	}
	return NULL;
}

static int no_such_verb(const char *name)
{
	const char *names[sizeof(verbs) / sizeof(verbs[0]) + 1];
	size_t count = 0;

	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if ((*verb)->help != NULL)
			names[count++] = (*verb)->name;
	}
	names[count] = NULL;
	const char *nearest = options_nearest(name, names);
	if (nearest != NULL)
		return say(LEAVE_USAGE, "there is no \"%s\"; did you mean safestart %s?", name, nearest);
	return say(LEAVE_USAGE, "there is no \"%s\"; safestart help lists what there is", name);
}

static int help_main(int argc, char **argv)
{
	int first, leave;

	if (argc == 2 && strcmp(argv[1], "--man") == 0) { /* the build makes the page of it */
		help_man(stdout);
		return LEAVE_DONE;
	}
	if (!options_parse(&verb_help, argc, argv, 0, 1, &first, &leave))
		return leave;
	if (first == argc) {
		help_all(stdout);
		return LEAVE_DONE;
	}
	const struct verb *verb = find_verb(argv[first]);
	if (verb == NULL || verb->help == NULL)
		return no_such_verb(argv[first]);
	help_verb(verb, stdout);
	return LEAVE_DONE;
}

const struct verb verb_help = {.name = "help", .main = help_main, .help = "explain a verb, with examples", .arguments = "[VERB]"};

/* Output that could not be written (a full disk behind a redirection) is a failure too. */
static int written(int leave)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && leave == LEAVE_DONE)
		return say(LEAVE_FAILED, "the output could not be written in full");
	return leave;
}

int main(int argc, char **argv)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* what is drawn is UTF-8, and as wide as that says */
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
	const struct verb *verb = find_verb(argv[1]);
	if (verb == NULL)
		return no_such_verb(argv[1]);
	say_verb(verb->name);
	return written(verb->main(argc - 1, argv + 1));
}
