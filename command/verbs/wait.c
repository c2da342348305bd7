/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wait: the playbook's barrier. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "hosts/barrier.h"
#include "verbs/verbs.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT};
static bool available;

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"available", NULL, OPTION_FLAG, &available,
	 "until every process of the roster has it in use (the default)"},
	{"gone", NULL, OPTION_FLAG, &barrier.gone,
	 "until no process has it, or holds an old set with it"},
	{"incarnation", "X", OPTION_TEXT, &barrier.incarnation,
	 "the boot of the node that is meant, as announced"},
	OPTION_BARRIER(barrier),
	OPTION_END,
};

static int wait_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_wait, argc, argv, 1, 1, &first, &code))
		return code;
	if (barrier.gone && (available || barrier.applied || barrier.incarnation != NULL))
		return report(EXIT_USAGE,
			      "--gone goes with none of --available, --applied and --incarnation");
	if (available && barrier.applied)
		return report(EXIT_USAGE, "--available and --applied contradict each other: "
					  "available is proven by a request, too");
	barrier.node = argv[first];
	json_t *result = common.json ? json_pack("{s:s}", "node", barrier.node) : NULL;
	code = barrier_wait(&barrier, result);
	if (result != NULL && json_object_size(result) > 1)
		return print_json(result, code);
	json_decref(result);
	return code;
}

const struct verb verb_wait = {
	.name = "wait",
	.main = wait_main,
	.help = "hold a playbook until every process has a node in use, or none",
	.arguments = "NODE",
	.text = "Ends with 0 only when every process of the roster has the node live and proven: a "
		"real request to it has worked since. None may be failing, "
		"or not answer. Otherwise it says who lacks it and why, a line each.\n\n"
		"The roster says how many processes of which name there have to be, so that one "
		"that is down is missed: --roster api=4, or a file `roster` "
		"in the control directory, a line each: api 4. Processes with serves=no don't "
		"count.\n\n"
		"After a reboot give the incarnation that was announced; else the node as it was "
		"before may still be the one that is in use.",
	.options = options,
	.examples = {"After riak-3 was announced",
		     "safestart wait riak-3 --incarnation boot-8 --roster api=4 --timeout 2m",
		     "Idle servers prove nothing", "safestart wait riak-3 --applied --roster api=4",
		     "Before riak-3 is switched off", "safestart wait riak-3 --gone"},
	.exits = {{0, "every process has it; with --gone: nobody has it any more"},
		  {1, "not before the timeout"},
		  {2, "used in a way that can't be meant"},
		  {4, "nobody could be asked"},
		  {6, "there are fewer processes than the roster says, or there is no roster"},
		  {7, "it is quarantined somewhere"}},
};
