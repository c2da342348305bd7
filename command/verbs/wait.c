/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wait: the barrier of a playbook [P22]. Only the options; the barrier itself is in
 * hosts/barrier.c. */
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
	 "until every process of the roster has the node in use (the default)"},
	{"gone", NULL, OPTION_FLAG, &barrier.gone,
	 "until no process has the node, or holds an old set with it"},
	{"incarnation", "X", OPTION_TEXT, &barrier.incarnation,
	 "wait for this incarnation (boot) of the node, as announced"},
	OPTION_BARRIER(barrier),
	OPTION_END,
};

static int wait_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_wait, argc, argv, 1, 1, &first, &code))
		return code;
	if (barrier.gone && (available || barrier.applied || barrier.incarnation != NULL))
		return report(EXIT_USAGE, "--gone cannot be combined with --available, --applied "
					  "or --incarnation");
	if (available && barrier.applied)
		return report(EXIT_USAGE, "--available and --applied contradict each other: "
					  "available means proven by a request");
	barrier.node = argv[first];
	/* Only "node" in it afterwards: nothing was asked, and the message is printed already. */
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
	.help = "wait until every process has a node in use, or until none has it",
	.arguments = "NODE",
	.text = "Ends with 0 only when every process of the roster has the node live and proven: a "
		"real request to it has worked since. None may be failing, or not answer. "
		"Otherwise it prints a line for each process that does not have the node, with the "
		"reason.\n\nThe roster says how many processes of each name there must be, so that "
		"one that is down is noticed: --roster api=4, or a file `roster` in the control "
		"directory with lines such as: api 4. Processes with serves=no do not "
		"count.\n\nAfter a reboot give the incarnation that was announced; otherwise the "
		"node as it was before the reboot may still be the one in use.",
	.options = options,
	.examples = {"After riak-3 was announced",
		     "safestart wait riak-3 --incarnation boot-8 --roster api=4 --timeout 2m",
		     "Idle servers prove nothing: live is enough",
		     "safestart wait riak-3 --applied --roster api=4",
		     "Before riak-3 is switched off", "safestart wait riak-3 --gone"},
	.exits = {{0, "every process has it; with --gone: no process has it any more"},
		  {1, "not so before the timeout"},
		  {2, "usage error"},
		  {4, "no process could be asked"},
		  {6, "fewer processes than the roster expects, or no roster"},
		  {7, "it is quarantined in some process"}},
};
