/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* announce and withdraw: put a node into the file that the servers read, or take it out. */
#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"
#include "verbs/edit.h"
#include "verbs/verbs.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT};
static const char *file, *incarnation;
static struct option_list labels;
static bool no_incarnation, wait;

/* ---- announce ---- */

/* This boot, and the moment since: of every start another one. */
static const char *fresh_incarnation(void)
{
	static char text[64];
	char boot[16] = "";
	struct timespec now;
	FILE *id = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (id != NULL) {
		if (fgets(boot, 9, id) == NULL)
			boot[0] = '\0';
		fclose(id);
	}
	clock_gettime(CLOCK_BOOTTIME, &now);
	snprintf(text, sizeof(text), "%s-%lld.%03ld", boot[0] != '\0' ? boot : "boot",
		 (long long)now.tv_sec, now.tv_nsec / 1000000);
	return text;
}

/* What is known of the node: as it is announced, else as it was when it was drained. */
static json_t *known_labels(const struct file_sd *file_sd, const struct drains *drains,
			    const char *id)
{
	struct file_sd_entry entry;

	if (file_sd_find(file_sd, id, &entry)) {
		json_t *copy = entry.labels != NULL ? json_deep_copy(entry.labels) : json_object();
		if (!entry.alone)
			json_object_del(copy, "id");
		return copy;
	}
	const json_t *note = drains_note(drains, id), *kept = json_object_get(note, "labels");
	return json_is_object(kept) ? json_deep_copy(kept) : json_object();
}

/* The labels as they are to be: what it had, what is given. NULL: no memory. */
static json_t *wanted_labels(const json_t *its, const char *id, const char *address)
{
	json_t *wanted = json_object();
	bool named = strcmp(id, address) != 0 || json_object_get(its, "id") != NULL;
	int failed = its == NULL;

	if (named) /* first, where one looks for it */
		failed |= json_object_set_new(wanted, "id", json_string(id));
	failed |= json_object_update(wanted, (json_t *)its);
	if (named)
		failed |= json_object_set_new(wanted, "id", json_string(id));
	for (size_t i = 0; i < labels.count; i++) {
		const char *equals = strchr(labels.at[i], '=');
		char *key = strndup(labels.at[i], (size_t)(equals - labels.at[i]));
		failed |= key == NULL ||
			  json_object_set_new(wanted, key, json_string(equals + 1)) < 0;
		free(key);
	}
	if (incarnation != NULL)
		failed |= json_object_set_new(wanted, "incarnation", json_string(incarnation));
	if (failed == 0)
		return wanted;
	json_decref(wanted);
	return NULL;
}

/* As it is to be; whatever else the group has that we don't know stays. NULL: no memory, or a label
 * that is no UTF-8. */
static json_t *wanted_group(const struct file_sd *file_sd, const struct drains *drains,
			    const char *id, const char *address)
{
	struct file_sd_entry entry;
	json_t *group = file_sd_find(file_sd, id, &entry) && entry.alone
				? json_deep_copy(entry.in->group)
				: json_object();
	json_t *its = known_labels(file_sd, drains, id);
	int failed = json_object_set_new(group, "targets", json_pack("[s]", address));

	failed |= json_object_set_new(group, "labels", wanted_labels(its, id, address));
	json_decref(its);
	if (failed == 0)
		return group;
	json_decref(group);
	return NULL;
}

static int check_labels(void)
{
	for (size_t i = 0; i < labels.count; i++) {
		const char *equals = strchr(labels.at[i], '=');
		if (equals == NULL || equals == labels.at[i])
			return report(EXIT_USAGE,
				      "--label: \"%s\" is not a name and a value, such as zone=a",
				      labels.at[i]);
		if (strncmp(labels.at[i], "id=", 3) == 0 ||
		    strncmp(labels.at[i], "incarnation=", 12) == 0)
			return report(EXIT_USAGE, "--label: the id is the first argument, and an "
						  "incarnation is given with --incarnation");
	}
	if (incarnation != NULL && no_incarnation)
		return report(EXIT_USAGE,
			      "--incarnation and --no-incarnation contradict each other");
	return 0;
}

/* As the servers would judge it. */
static int check_group(const json_t *group)
{
	json_t *document = json_pack("[O]", group);
	char *text = json_dumps(document, JSON_COMPACT), why[512] = "it is not UTF-8";

	int result = text != NULL ? safestart_check(NULL, text, why, sizeof(why)) : -EINVAL;
	free(text);
	json_decref(document);
	return result == 0 ? 0
			   : report(EXIT_USAGE,
				    "the servers would not take it: %s; nothing was changed", why);
}

static const struct option_row announce_options[] = {
	{"file", "FILE", OPTION_TEXT, &file,
	 "the file_sd file that the servers read ($SAFESTART_NODES)"},
	{"label", "NAME=VALUE", OPTION_LIST, &labels, "a label; again for more. Those it has stay"},
	{"incarnation", "X", OPTION_TEXT, &incarnation,
	 "which boot of the node this is (a fresh one)"},
	{"no-incarnation", NULL, OPTION_FLAG, &no_incarnation, "leave the incarnation as it is"},
	{"wait", NULL, OPTION_FLAG, &wait,
	 "wait until every process has it in use, as safestart wait"},
	OPTION_BARRIER(barrier),
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_END,
};

static void print_announced(const struct file_sd *file_sd, const char *id, const char *address)
{
	text_print(id);
	if (!file_sd->changed)
		printf(" is announced so already; nothing was changed in ");
	else
		printf(" is announced at %s%s%s in ", address,
		       incarnation != NULL ? ", incarnation " : "",
		       incarnation != NULL ? incarnation : "");
	text_print(file_sd->path);
	putchar('\n');
}

static int announce(const char *id, const char *address, json_t *result)
{
	struct file_sd file_sd;
	struct drains drains;
	int code;

	if (!edit_begin(&file_sd, &drains, file, false, &code))
		return code;
	json_t *group = wanted_group(&file_sd, &drains, id, address);
	code = group == NULL ? report(EXIT_FAILED, "out of memory, or something given is not "
						   "UTF-8; nothing was changed")
			     : check_group(group);
	if (code == 0 && !file_sd_put(&file_sd, id, group))
		code = report(EXIT_FAILED, "out of memory");
	const char *its =
		json_string_value(json_object_get(json_object_get(group, "labels"), "incarnation"));
	if (its != NULL)
		json_object_set_new(result, "incarnation", json_string(its));
	if (code == 0 && drains.root != NULL)
		drains_remove(&drains, id);
	if (code == 0)
		code = edit_finish(&file_sd, &drains, false, result);
	if (code == 0 && !common.json)
		print_announced(&file_sd, id, address);
	json_decref(group);
	drains_free(&drains);
	file_sd_close(&file_sd);
	return code;
}

static int announce_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_announce, argc, argv, 2, 2, &first, &code) ||
	    (code = check_labels()) != 0)
		return code;
	if (incarnation == NULL && !no_incarnation)
		incarnation = fresh_incarnation();
	json_t *result = json_pack("{s:s,s:s}", "id", argv[first], "address", argv[first + 1]);
	if (result == NULL)
		return report(EXIT_USAGE, "an id and an address have to be UTF-8");
	code = announce(argv[first], argv[first + 1], result);
	barrier.node = argv[first];
	barrier.incarnation = incarnation;
	if (code == 0 && wait)
		code = edit_wait(&barrier, "announce", result);
	return edit_print_result(result, code);
}

const struct verb verb_announce = {
	.name = "announce",
	.main = announce_main,
	.help = "put a node into the file that the servers read",
	.arguments = "ID ADDRESS",
	.text = "Edits a Prometheus file_sd file: under a lock, as a whole or not at all, and "
		"nothing else in it is touched. Announcing what is there already, "
		"with the same incarnation, changes nothing.\n\n"
		"The label `incarnation` says which boot of the node this is, so that the servers "
		"connect anew and prove it anew. By default a fresh "
		"one is made, of this host's boot and the time since; give one (the node's own "
		"boot id, say) to make a playbook repeatable.\n\n"
		"A node that was drained comes back with the labels it had, and its drain ends.",
	.options = announce_options,
	.examples = {"riak-3 is back",
		     "safestart announce riak-3 10.0.0.3:8087 --file /etc/api/nodes.json",
		     "Go on only when every server uses it",
		     "safestart announce riak-3 10.0.0.3:8087 --wait --roster api=4",
		     "From a playbook: the same twice changes nothing",
		     "safestart announce riak-3 10.0.0.3:8087 --incarnation boot-8 --label zone=a "
		     "--json"},
	.exits = {{0, "announced; with --wait: and in use everywhere"},
		  {1, "announced, but not in use before the timeout; or the file is locked"},
		  {2, "used in a way that can't be meant, such as an address without a port"},
		  {3, "the file is malformed, and was not touched"},
		  {4, "the file could not be changed, and is as it was"},
		  {6, "announced, but processes of the roster are missing"},
		  {7, "announced, but quarantined somewhere"}},
};

/* ---- withdraw ---- */

static const struct option_row withdraw_options[] = {
	{"file", "FILE", OPTION_TEXT, &file,
	 "the file_sd file that the servers read ($SAFESTART_NODES)"},
	{"wait", NULL, OPTION_FLAG, &wait,
	 "wait until no process has it, or holds an old set with it"},
	{"timeout", "TIME", OPTION_DURATION, &barrier.timeout, "how long to wait at most (60s)"},
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_END,
};

static int withdraw(const char *id, json_t *result)
{
	struct file_sd file_sd;
	struct drains drains;
	struct file_sd_entry entry = {0};
	int code;

	if (!edit_begin(&file_sd, &drains, file, false, &code))
		return code;
	code = file_sd_remove(&file_sd, id) ? edit_finish(&file_sd, &drains, false, result)
					    : report(EXIT_FAILED, "out of memory");
	if (code == 0 && file_sd.changed && !file_sd_next(&file_sd, &entry))
		(void)report(0, "no node is announced any more: the servers refuse an empty set, "
				"unless they are set up with allow_empty=yes");
	if (code == 0 && !common.json) {
		text_print(id);
		printf(file_sd.changed ? " is withdrawn from " : " is not in ");
		text_print(file_sd.path);
		puts(file_sd.changed ? "" : "; nothing was changed");
	}
	drains_free(&drains);
	file_sd_close(&file_sd);
	return code;
}

static int withdraw_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_withdraw, argc, argv, 1, 1, &first, &code))
		return code;
	json_t *result = json_pack("{s:s}", "id", argv[first]);
	if (result == NULL)
		return report(EXIT_USAGE, "an id has to be UTF-8");
	code = withdraw(argv[first], result);
	barrier.node = argv[first];
	barrier.gone = true;
	if (code == 0 && wait)
		code = edit_wait(&barrier, "withdraw", result);
	return edit_print_result(result, code);
}

const struct verb verb_withdraw = {
	.name = "withdraw",
	.main = withdraw_main,
	.help = "take a node out of the file that the servers read, for good",
	.arguments = "ID",
	.text = "Edits a Prometheus file_sd file as announce does. Withdrawing what is not there "
		"changes nothing. A node that is to come back is better "
		"drained: the monitor then raises no alarm, and it comes back with its labels.",
	.options = withdraw_options,
	.examples = {"riak-3 is given up", "safestart withdraw riak-3 --file /etc/api/nodes.json",
		     "Switch it off only when nobody uses it any more",
		     "safestart withdraw riak-3 --wait --timeout 5m && ssh riak-3 poweroff"},
	.exits = {{0, "withdrawn; with --wait: and no process has it any more"},
		  {1, "withdrawn, but somebody had it still at the timeout; or the file is locked"},
		  {2, "used in a way that can't be meant"},
		  {3, "the file is malformed, and was not touched"},
		  {4, "the file could not be changed, and is as it was; or nobody could be asked"}},
};
