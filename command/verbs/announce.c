/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* announce and withdraw: put a node into the file that the servers read, or take it out. */
#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"
#include "hosts/table.h"
#include "verbs/edit.h"
#include "verbs/request.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT};
static const char *file, *incarnation;
static struct words labels;
static bool no_incarnation, wait;

/* ---- What editing verbs share ---- */

/* The note of a drain before the node goes, and the node back before the note goes, so that no
 * monitor ever sees it missing without a reason: it reads both again until the nodes stay as they
 * are meanwhile. */
int edit_finish(struct file_sd *file_sd, struct drains *drains, bool note_first, json_t *told)
{
	int leave = note_first ? drains_write(drains, file_sd) : 0;

	if (leave == 0)
		leave = file_sd_write(file_sd);
	if (note_first && leave != 0)
		drains_restore(drains, file_sd);
	/* By now the nodes are changed; a note that stays is of no harm while its node is
	 * announced. */
	if (!note_first && leave == 0 && drains->root != NULL && drains_write(drains, file_sd) != 0)
		(void)say(0,
			  "that was the note of drained nodes only, and it still has this one, "
			  "which does no harm while the node is announced: %s is as it was to be. "
			  "When that is mended, announcing the node again removes it",
			  file_sd->path);
	json_object_set_new(told, "file", json_string(file_sd->path));
	json_object_set_new(told, "changed", json_boolean(file_sd->changed));
	return leave;
}

/* Its nodes come from that file; where another one's do, nothing is to be done. */
static bool reads_it(const struct peer *peer, const void *path)
{
	const char *source = answer_text(json_object_get(peer->answer, "status"), "source");
	char *real = strncmp(source, "file:/", 6) == 0 ? realpath(source + 5, NULL) : NULL;
	/* Where a relative one leads, only it knows. */
	bool same = real != NULL ? strcmp(real, path) == 0 : strncmp(source, "file:", 5) == 0;

	free(real);
	return same;
}

/* The file is followed by those that read it; to ask them hurries them up where there is nothing to
 * follow it by. */
static void hurry(const char *path, const char *words)
{
	struct processes processes;

	if (processes_look(&processes, options_control(), NULL) < 0)
		return;
	if (processes_ask(&processes, json_pack("{s:s}", "do", "status"), PROCESSES_TIMEOUT) == 0) {
		processes_keep(&processes, reads_it, path);
		(void)processes_ask(&processes, request_new(false, false, words, 0),
				    PROCESSES_TIMEOUT);
	}
	processes_free(&processes);
}

int edit_wait(const struct barrier *what, const char *verb, json_t *told)
{
	char words[300];

	snprintf(words, sizeof(words), "safestart %s %.255s", verb, what->node);
	hurry(answer_text(told, "file"), words);
	return barrier_wait(what, common.json ? told : NULL);
}

int edit_tell(json_t *told, int leave)
{
	if (common.json && json_object_get(told, "changed") != NULL)
		return print_json(told, leave);
	json_decref(told);
	return leave;
}

bool edit_begin(struct file_sd *file_sd, struct drains *drains, const char *given, bool strict,
		int *leave)
{
	const char *path = file_sd_path(given);
	char why[512] = "out of memory";

	*leave = path == NULL ? LEAVE_USAGE : file_sd_open(file_sd, path, true);
	if (*leave != 0)
		return false;
	if (drains_read(drains, file_sd->path, why, sizeof(why)) < 0) {
		*leave = say(strict ? LEAVE_FAILED : 0,
			     "the note of drained nodes can't be read, and is left as it is: %s",
			     why);
		if (strict)
			file_sd_close(file_sd);
	}
	return *leave == 0;
}

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
			return say(LEAVE_USAGE,
				   "--label: \"%s\" is not a name and a value, such as zone=a",
				   labels.at[i]);
		if (strncmp(labels.at[i], "id=", 3) == 0 ||
		    strncmp(labels.at[i], "incarnation=", 12) == 0)
			return say(LEAVE_USAGE, "--label: the id is the first argument, and an "
						"incarnation is given with --incarnation");
	}
	if (incarnation != NULL && no_incarnation)
		return say(LEAVE_USAGE, "--incarnation and --no-incarnation contradict each other");
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
			   : say(LEAVE_USAGE,
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

static void say_announced(const struct file_sd *file_sd, const char *id, const char *address)
{
	words_print(id);
	if (!file_sd->changed)
		printf(" is announced so already; nothing was changed in ");
	else
		printf(" is announced at %s%s%s in ", address,
		       incarnation != NULL ? ", incarnation " : "",
		       incarnation != NULL ? incarnation : "");
	words_print(file_sd->path);
	putchar('\n');
}

static int announce(const char *id, const char *address, json_t *told)
{
	struct file_sd file_sd;
	struct drains drains;
	int leave;

	if (!edit_begin(&file_sd, &drains, file, false, &leave))
		return leave;
	json_t *group = wanted_group(&file_sd, &drains, id, address);
	leave = group == NULL
			? say(LEAVE_FAILED,
			      "out of memory, or something given is not UTF-8; nothing was changed")
			: check_group(group);
	if (leave == 0 && !file_sd_put(&file_sd, id, group))
		leave = say(LEAVE_FAILED, "out of memory");
	const char *its =
		json_string_value(json_object_get(json_object_get(group, "labels"), "incarnation"));
	if (its != NULL)
		json_object_set_new(told, "incarnation", json_string(its));
	if (leave == 0 && drains.root != NULL)
		drains_end(&drains, id);
	if (leave == 0)
		leave = edit_finish(&file_sd, &drains, false, told);
	if (leave == 0 && !common.json)
		say_announced(&file_sd, id, address);
	json_decref(group);
	drains_free(&drains);
	file_sd_close(&file_sd);
	return leave;
}

static int announce_main(int argc, char **argv)
{
	int first, leave;

	if (!options_parse(&verb_announce, argc, argv, 2, 2, &first, &leave) ||
	    (leave = check_labels()) != 0)
		return leave;
	if (incarnation == NULL && !no_incarnation)
		incarnation = fresh_incarnation();
	json_t *told = json_pack("{s:s,s:s}", "id", argv[first], "address", argv[first + 1]);
	if (told == NULL)
		return say(LEAVE_USAGE, "an id and an address have to be UTF-8");
	leave = announce(argv[first], argv[first + 1], told);
	barrier.node = argv[first];
	barrier.incarnation = incarnation;
	if (leave == 0 && wait)
		leave = edit_wait(&barrier, "announce", told);
	return edit_tell(told, leave);
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

static int withdraw(const char *id, json_t *told)
{
	struct file_sd file_sd;
	struct drains drains;
	struct file_sd_entry entry = {0};
	int leave;

	if (!edit_begin(&file_sd, &drains, file, false, &leave))
		return leave;
	leave = file_sd_remove(&file_sd, id) ? edit_finish(&file_sd, &drains, false, told)
					     : say(LEAVE_FAILED, "out of memory");
	if (leave == 0 && file_sd.changed && !file_sd_next(&file_sd, &entry))
		(void)say(0, "no node is announced any more: the servers refuse an empty set, "
			     "unless they are set up with allow_empty=yes");
	if (leave == 0 && !common.json) {
		words_print(id);
		printf(file_sd.changed ? " is withdrawn from " : " is not in ");
		words_print(file_sd.path);
		puts(file_sd.changed ? "" : "; nothing was changed");
	}
	drains_free(&drains);
	file_sd_close(&file_sd);
	return leave;
}

static int withdraw_main(int argc, char **argv)
{
	int first, leave;

	if (!options_parse(&verb_withdraw, argc, argv, 1, 1, &first, &leave))
		return leave;
	json_t *told = json_pack("{s:s}", "id", argv[first]);
	if (told == NULL)
		return say(LEAVE_USAGE, "an id has to be UTF-8");
	leave = withdraw(argv[first], told);
	barrier.node = argv[first];
	barrier.gone = true;
	if (leave == 0 && wait)
		leave = edit_wait(&barrier, "withdraw", told);
	return edit_tell(told, leave);
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
