/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verbs: the table of all verbs, and the two verbs that read it, help and complete, which hand it
 * down as an argument. */
#include "verbs/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/help.h"
#include "base/options.h"
#include "base/report.h"
#include "verbs/complete.h"

const struct verb *const verbs[] = {&verb_status,   &verb_nodes,    &verb_events,
				    &verb_metrics,  &verb_request,  &verb_wait,
				    &verb_announce, &verb_withdraw, &verb_drain,
				    &verb_monitor,  &verb_check,    &verb_run,
				    &verb_help,     &verb_complete, NULL};

const struct verb *verbs_find(const char *name)
{
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if (strcmp((*verb)->name, name) == 0)
			return *verb;
	}
	return NULL;
}

int verbs_report_unknown(const char *name)
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
		return report(EXIT_USAGE, "unknown verb \"%s\"; did you mean safestart %s?", name,
			      nearest);
	return report(EXIT_USAGE, "unknown verb \"%s\"; for the list: safestart help", name);
}

static int help_main(int argc, char **argv)
{
	int first, code;

	if (argc == 2 && strcmp(argv[1], "--man") == 0) { /* the build makes the man page from it */
		help_man(verbs, stdout);
		return EXIT_DONE;
	}
	if (!options_parse(&verb_help, argc, argv, 0, 1, &first, &code))
		return code;
	if (first == argc) {
		help_all(verbs, stdout);
		return EXIT_DONE;
	}
	const struct verb *verb = verbs_find(argv[first]);
	if (verb == NULL || verb->help == NULL)
		return verbs_report_unknown(argv[first]);
	help_verb(verb, stdout);
	return EXIT_DONE;
}

const struct verb verb_help = {.name = "help",
			       .main = help_main,
			       .help = "explain a verb, with examples",
			       .arguments = "[VERB]"};

static int complete_main(int argc, char **argv)
{
	complete(verbs, argc, argv);
	return EXIT_DONE;
}

const struct verb verb_complete = {.name = "complete", .main = complete_main};
