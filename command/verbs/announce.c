/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* announce: the verbs announce and withdraw: add a node to the node file, or remove it. The file is
 * locked from reading to writing. */
#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "files/address.h"
#include "files/desired.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"
#include "verbs/edit.h"
#include "verbs/verbs.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT};
static struct edit edit;
static const char *incarnation;
static struct option_list labels;
static bool no_incarnation, wait;

/* ---- announce ---- */

/* Boot id and time since boot of this host: different for every call. */
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

/* The labels of the node as announced; else those it had when it was drained. */
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

/* The new labels: those it had, changed by those given. NULL: no memory. */
static json_t *wanted_labels(const json_t *its, const char *id, const char *address)
{
	json_t *wanted = json_object();
	char own[ADDRESS_SIZE];
	/* An id that is the address as the library writes it needs no label. */
	bool named = json_object_get(its, "id") != NULL ||
		     safestart_target_id(NULL, address, own, sizeof(own)) < 0 ||
		     strcmp(id, own) != 0;
	int failed = its == NULL;

	if (named) /* first, where a reader looks for it */
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

/* The new group; members that this program does not know stay. NULL: no memory, or a label is not
 * UTF-8. */
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
				      "--label: \"%s\" is not NAME=VALUE, such as zone=a",
				      labels.at[i]);
		if (strncmp(labels.at[i], "id=", 3) == 0 ||
		    strncmp(labels.at[i], "incarnation=", 12) == 0)
			return report(EXIT_USAGE, "--label: give the id as the first argument, and "
						  "the incarnation with --incarnation");
	}
	if (incarnation != NULL && no_incarnation)
		return report(EXIT_USAGE,
			      "--incarnation and --no-incarnation contradict each other");
	return 0;
}

/* Checks the group by the library's own rules. */
static int check_group(const json_t *group)
{
	json_t *document = json_pack("[O]", group);
	char *text = json_dumps(document, JSON_COMPACT), why[512] = "not UTF-8";

	int result = text != NULL ? safestart_check(NULL, text, why, sizeof(why)) : -EINVAL;
	free(text);
	json_decref(document);
	return result == 0
		       ? 0
		       : report(EXIT_USAGE,
				"the servers would not accept it: %s; nothing was changed", why);
}

static const struct option_row announce_options[] = {
	OPTION_EDIT(edit),
	{"label", "NAME=VALUE", OPTION_LIST, &labels,
	 "set a label; may be repeated; other labels stay"},
	{"incarnation", "X", OPTION_TEXT, &incarnation,
	 "which boot of the node this is (a new one)"},
	{"no-incarnation", NULL, OPTION_FLAG, &no_incarnation, "keep the incarnation unchanged"},
	{"wait", NULL, OPTION_FLAG, &wait,
	 "wait until every process has it in use, as safestart wait does"},
	OPTION_BARRIER(barrier),
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_END,
};

/* Where the node is announced so far, if that is another address; the caller frees it. NULL: it is
 * not. */
static char *old_address(const struct file_sd *file_sd, const char *id, const char *address)
{
	struct file_sd_entry entry;

	return file_sd_find(file_sd, id, &entry) && !address_same(entry.address, address)
		       ? strdup(entry.address)
		       : NULL;
}

/* Two ids with one address are two nodes for the servers: one of them was probably renamed. */
static void warn_of_shared_address(const struct file_sd *file_sd, const char *id,
				   const char *address)
{
	struct file_sd_entry entry = {0};

	while (file_sd_next(file_sd, &entry)) {
		if (strcmp(entry.id, id) == 0 || !address_same(entry.address, address))
			continue;
		(void)report(0,
			     "warning: %s has the same address, %s; if it is the same node under "
			     "its old name: safestart withdraw %s",
			     entry.id, entry.address, entry.id);
		return;
	}
}

static void print_announced(const struct file_sd *file_sd, const char *id, const char *address,
			    const char *before)
{
	text_print(id);
	if (!file_sd->changed)
		printf(" is already announced with this address; unchanged: ");
	else
		printf(" is announced%s%s%s%s%s%s in ", before != NULL ? ", moved from " : " at ",
		       before != NULL ? before : "", before != NULL ? " to " : "", address,
		       incarnation != NULL ? ", incarnation " : "",
		       incarnation != NULL ? incarnation : "");
	text_print(file_sd->file.path);
	putchar('\n');
}

/* For --wait: the barrier holds for this entry, not for what was announced before. */
static int keep_entry(const struct file_sd *file_sd, const char *id)
{
	size_t length;
	char *text = file_sd_text(file_sd, &length);
	json_t *digests = text != NULL ? desired_digests(text) : NULL;

	free(text);
	barrier.entry = digests != NULL ? strdup(member_text(digests, id)) : NULL;
	json_decref(digests);
	return barrier.entry != NULL ? 0 : report(EXIT_FAILED, "out of memory");
}

/* Reads, checks and writes under one lock. The check is the library's, so that a node which the
 * servers would quarantine is not written. */
static int announce(const char *id, const char *address, json_t *result)
{
	struct file_sd file_sd;
	struct drains drains;
	int code;

	if (!edit_begin(&file_sd, &drains, &edit, false, &code))
		return code;
	char *before = old_address(&file_sd, id, address);
	json_t *group = wanted_group(&file_sd, &drains, id, address);
	code = group == NULL
		       ? report(EXIT_FAILED,
				"out of memory, or an argument is not UTF-8; nothing was changed")
		       : check_group(group);
	if (code == 0 && !file_sd_put(&file_sd, id, group))
		code = report(EXIT_FAILED, "out of memory");
	if (code == 0 && wait)
		code = keep_entry(&file_sd, id);
	if (code == 0)
		warn_of_shared_address(&file_sd, id, address);
	if (before != NULL)
		json_object_set_new(result, "before", json_string(before));
	const char *its =
		json_string_value(json_object_get(json_object_get(group, "labels"), "incarnation"));
	if (its != NULL)
		json_object_set_new(result, "incarnation", json_string(its));
	if (code == 0 && drains.root != NULL)
		drains_remove(&drains, id);
	if (code == 0)
		code = edit_finish(&file_sd, &drains, false, result);
	if (code == 0 && !common.json)
		print_announced(&file_sd, id, address, before);
	json_decref(group);
	free(before);
	drains_free(&drains);
	file_sd_close(&file_sd);
	return code;
}

static int announce_main(int argc, char **argv)
{
	int first, code;
	char own[ADDRESS_SIZE];

	if (!options_parse(&verb_announce, argc, argv, 2, 2, &first, &code) ||
	    (code = check_labels()) != 0)
		return code;
	if (incarnation == NULL && !no_incarnation)
		incarnation = fresh_incarnation();
	/* The address as its id: the servers know it by the library's spelling. */
	if (strcmp(argv[first], argv[first + 1]) == 0 &&
	    safestart_target_id(NULL, argv[first], own, sizeof(own)) >= 0)
		argv[first] = own;
	json_t *result = json_pack("{s:s,s:s}", "id", argv[first], "address", argv[first + 1]);
	if (result == NULL)
		return report(EXIT_USAGE, "the id and the address must be UTF-8");
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
	.help = "add a node to the node file that the servers read",
	.arguments = "ID ADDRESS",
	.text = "Edits a Prometheus file_sd file: under a lock, as a whole or not at all, and the "
		"rest of the file stays byte for byte. Announcing a node again with the same "
		"address and incarnation changes nothing.\n\nThe lock is the file .NAME.lock "
		"beside "
		"the node file, which only its owner and root can open; other programs that edit "
		"the node file can hold it with flock(1). The new file gets the owner, mode, ACL, "
		"security label and extended attributes of the old one. With --in-place the file "
		"is written instead of replaced: for a file that is mounted by itself, or has "
		"several hard links. Then a reader can see half of it, and a crash can leave half "
		"of it; the lock is an exclusive flock on the file itself.\n\nThe label "
		"`incarnation` says which "
		"boot of the node this is; when it changes, the servers connect to the node again "
		"and prove it again. By default a new one is made from this host's boot id and the "
		"time since boot. Give one, such as the boot id of the node, to make a playbook "
		"repeatable.\n\nA node that was drained comes back with the labels it had, and its "
		"drain ends.",
	.options = announce_options,
	.examples = {"riak-3 is back",
		     "safestart announce riak-3 10.0.0.3:8087 --file /etc/api/nodes.json",
		     "Continue only when every server uses it",
		     "safestart announce riak-3 10.0.0.3:8087 --wait --roster api=4",
		     "From a playbook: repeating it changes nothing",
		     "safestart announce riak-3 10.0.0.3:8087 --incarnation boot-8 --json"},
	.exits = {{0, "announced; with --wait: and in use in every process"},
		  {1, "announced, but not in use before the timeout; or the file is locked"},
		  {2, "usage error, such as an address without a port"},
		  {3, "the file is malformed; unchanged"},
		  {4, "the file could not be changed; unchanged"},
		  {6, "announced, but fewer processes than the roster expects"},
		  {7, "announced, but quarantined in some process"}},
};

/* ---- withdraw ---- */

static const struct option_row withdraw_options[] = {
	OPTION_EDIT(edit),
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

	if (!edit_begin(&file_sd, &drains, &edit, false, &code))
		return code;
	code = file_sd_remove(&file_sd, id) ? edit_finish(&file_sd, &drains, false, result)
					    : report(EXIT_FAILED, "out of memory");
	if (code == 0 && file_sd.changed && !file_sd_next(&file_sd, &entry))
		(void)report(0, "no node is announced any more; the servers refuse an empty set, "
				"unless they have the setting allow_empty=yes");
	if (code == 0 && !common.json) {
		text_print(id);
		printf(file_sd.changed ? " is withdrawn from " : " is not in ");
		text_print(file_sd.file.path);
		puts(file_sd.changed ? "" : "; unchanged");
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
		return report(EXIT_USAGE, "the id must be UTF-8");
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
	.help = "remove a node from the node file that the servers read, for good",
	.arguments = "ID",
	.text = "Edits a Prometheus file_sd file as announce does. Withdrawing a node that is not "
		"in the file changes nothing. For a node that will come back use drain instead: "
		"then the monitor raises no alarm, and the node comes back with its labels.",
	.options = withdraw_options,
	.examples = {"riak-3 is removed for good",
		     "safestart withdraw riak-3 --file /etc/api/nodes.json",
		     "Switch it off only when no process uses it any more",
		     "safestart withdraw riak-3 --wait --timeout 5m && ssh riak-3 poweroff"},
	.exits = {{0, "withdrawn; with --wait: and no process has it any more"},
		  {1,
		   "withdrawn, but a process still had it at the timeout; or the file is locked"},
		  {2, "usage error"},
		  {3, "the file is malformed; unchanged"},
		  {4, "the file could not be changed; or no process could be asked"}},
};
