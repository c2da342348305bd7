/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wait: the barrier of a playbook [P22]. Only the options; the barrier itself is in
 * hosts/barrier.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "files/desired.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"
#include "verbs/verbs.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT};
static const char *file;
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
	{"announced-in", "FILE", OPTION_TEXT, &file,
	 "wait for the entry in this file_sd file, also where it has not been read yet"},
	OPTION_BARRIER(barrier),
	OPTION_END,
};

/* The digest of the entry as the file has it, so that a process that has not read the file yet does
 * not pass [P22]. 0 or an exit code, the message printed. */
static int find_entry(const char *id)
{
	struct file_sd file_sd;
	size_t length;
	int code = file_sd_open(&file_sd, file, NULL);

	if (code != 0)
		return code;
	char *text = file_sd_text(&file_sd, &length);
	json_t *digests = text != NULL ? desired_digests(text) : NULL;
	const char *digest = member_text(digests, id);
	barrier.entry = digests != NULL ? strdup(digest) : NULL;
	if (barrier.entry == NULL)
		code = report(EXIT_FAILED, "out of memory");
	else if (digest[0] == '\0')
		code = report(EXIT_NOT_YET, "there is no usable node \"%s\" in %s", id, file);
	json_decref(digests);
	free(text);
	file_sd_close(&file_sd);
	return code;
}

static int wait_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_wait, argc, argv, 1, 1, &first, &code))
		return code;
	if (barrier.gone &&
	    (available || barrier.applied || barrier.incarnation != NULL || file != NULL))
		return report(EXIT_USAGE, "--gone cannot be combined with --available, --applied, "
					  "--incarnation or --announced-in");
	if (available && barrier.applied)
		return report(EXIT_USAGE, "--available and --applied contradict each other: "
					  "available means proven by a request");
	barrier.node = argv[first];
	if (file != NULL && (code = find_entry(barrier.node)) != 0)
		return code;
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
		"directory with lines such as: api 4. A process that opened its handle "
		"with serves=no does not count, its forked children do.\n\nThe entry in use must "
		"be the announced one, with its address and all "
		"labels, as each process has last read it. Right after a change give the "
		"incarnation that was announced, or --announced-in with the file: a process that "
		"has not read it yet may still use the node as it was.",
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
