/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conf: the table, setting a value, and the copy that a handle works by. One thread at a time for
 * each conf; a handle's copy is constant. On an error nothing has changed. */
#include "conf/conf.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"
#include "conf/value.h"
#include "lock/file.h"
#include "source/file.h"

struct row {
	const char *key;
	const char *value; /* default */
	const char *help;
	int (*parse)(const char *text, void *to, char *why, size_t why_size);
	size_t offset; /* of what the parser fills in, in struct settings */
};

#define FIELD(member) offsetof(struct settings, member)

/* The only list of settings there is: safestart_setting(), the README (a test compares) and
 * `safestart check --set` read it. */
static const struct row table[] = {
	{"name", "", "name of this handle in logs and metrics; not set: the program's name",
	 value_string, FIELD(name)},
	{"source", "push",
	 "where nodes come from: push, none, file:PATH, or the SCHEME:ARGUMENT of an added source",
	 value_word, FIELD(source)},
	{"debounce", "100ms",
	 "quiet time after the newest request before a run starts; 0: it starts at once",
	 value_duration, FIELD(gate.debounce)},
	{"max_delay", "1s",
	 "longest time a request waits for quiet; not set: 1s, or debounce if that is longer",
	 value_duration, FIELD(gate.max_delay)},
	{"min_interval", "0", "least time from the end of a run to the start of the next",
	 value_duration, FIELD(gate.min_interval)},
	{"retry_min", "100ms",
	 "first pause before a failed run or a rejected node is retried; 0: no retry",
	 value_duration, FIELD(gate.retry_min)},
	{"retry_max", "30s", "longest pause between retries; the pause doubles up to this",
	 value_duration, FIELD(gate.retry_max)},
	{"run_timeout", "30s", "deadline of one run, and the longest time that close waits",
	 value_positive_duration, FIELD(run_timeout)},
	{"reconcile", "30s", "interval of full re-reads that need no request (jittered); 0: never",
	 value_duration, FIELD(reconcile)},
	{"max_shrink", "50%",
	 "refuse a set that would lose more than this share of the live nodes, unless forced",
	 value_percent, FIELD(rails.max_shrink)},
	{"shrink_window", "1m",
	 "max_shrink counts from the largest set that was live within this time; 0: from the live "
	 "one",
	 value_duration, FIELD(rails.shrink_window)},
	{"min_nodes", "1", "refuse a set with fewer nodes than this, unless forced", value_count,
	 FIELD(rails.min_nodes)},
	{"allow_empty", "no", "yes: accept a set without nodes; no: refuse it", value_bool,
	 FIELD(rails.allow_empty)},
	{"max_nodes", "100000", "refuse a document with more entries than this", value_count,
	 FIELD(limits.max_nodes)},
	{"max_bytes", "64MiB", "refuse a document larger than this", value_size,
	 FIELD(limits.max_bytes)},
	{"default_port", "0", "port of a target that has none; 0: such a target is unusable",
	 value_port, FIELD(limits.default_port)},
	{"last_good", "",
	 "file that keeps the last applied set across a restart of the process; not set: none",
	 value_string, FIELD(last_good)},
	{"lock", "",
	 "lock file shared between processes: only one of them runs at a time; not set: none",
	 value_string, FIELD(lock)},
	{"lock_timeout", "30s",
	 "longest time a run waits for the lock; run_timeout starts once the lock is held",
	 value_duration, FIELD(lock_timeout)},
	{"lock_share", "no",
	 "yes: the processes share outcomes too, so one run answers the requests of all; needs "
	 "source=none",
	 value_bool, FIELD(lock_share)},
	{"control", "",
	 "directory of the control socket for the command `safestart`; created if only its last "
	 "part is missing; not set: none",
	 value_word, FIELD(control)},
	{"serves", "yes",
	 "no: the process that opens the handle serves no clients and does not count on the roster "
	 "(a "
	 "pre-fork master); its forked children do",
	 value_bool, FIELD(serves)},
	{"thread", "yes",
	 "no: the application's event loop drives the handle by safestart_fd() and "
	 "safestart_dispatch()",
	 value_bool, FIELD(thread)},
	{"start", "open",
	 "after_fork: no thread, no socket and no callback before safestart_after_fork(), which "
	 "each process calls for itself (a master that forks); open: at once",
	 value_start, FIELD(start_after_fork)},
	{"events", "callback",
	 "pull: no callback is ever called, the application takes events by safestart_next_event() "
	 "(for language bindings); callback: the callbacks are called",
	 value_events, FIELD(events_pull)},
};

#define ROWS (sizeof(table) / sizeof(table[0]))

int safestart_setting(size_t index, const char **key, const char **value, const char **help)
{
	if (index >= ROWS)
		return -ENOENT;
	if (key != NULL)
		*key = table[index].key;
	if (value != NULL)
		*value = table[index].value;
	if (help != NULL)
		*help = table[index].help;
	return 0;
}

static void *field(struct safestart_conf *conf, const struct row *row)
{
	return (char *)&conf->settings + row->offset;
}

struct safestart_conf *safestart_conf_new(void)
{
	struct safestart_conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	for (size_t i = 0; i < ROWS; i++) {
		if (table[i].value[0] != '\0' &&
		    table[i].parse(table[i].value, field(conf, &table[i]), NULL, 0) < 0)
			goto fail;
	}
	if (safestart_conf_add_source(conf, &file_source, NULL) < 0)
		goto fail;
	return conf;
fail:
	safestart_conf_free(conf);
	return NULL;
}

void safestart_conf_free(struct safestart_conf *conf)
{
	if (conf == NULL)
		return;
	sources_free(conf->sources);
	free(conf->settings.name);
	free(conf->settings.source);
	free(conf->settings.last_good);
	free(conf->settings.lock);
	free(conf->settings.control);
	free(conf);
}

static const struct row *find_row(const char *key)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(table[i].key, key) == 0)
			return &table[i];
	}
	return NULL;
}

/* A misspelt key must not be ignored: the server would run with a default that nobody chose. */
static int unknown_key(const struct safestart_conf *conf, const char *key, char *why,
		       size_t why_size)
{
	const char *nearest = table[0].key;

	for (size_t i = 1; i < ROWS; i++) {
		if (value_distance(key, table[i].key) < value_distance(key, nearest))
			nearest = table[i].key;
	}
	const char *own;
	for (size_t i = 0; (own = sources_key(conf->sources, i)) != NULL; i++) {
		if (value_distance(key, own) < value_distance(key, nearest))
			nearest = own;
	}
	return message_set(why, why_size, -EINVAL,
			   "there is no setting \"%.40s\"; the nearest is %s", key, nearest);
}

/* A source's own setting is for the source to understand, "" too. */
static int set_own(char **own, const char *value, char *why, size_t why_size)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	free(*own);
	*own = copy;
	return 0;
}

int safestart_conf_set(struct safestart_conf *conf, const char *key, const char *value, char *why,
		       size_t why_size)
{
	char reason[200];

	message_set(why, why_size, 0, "%s", "");
	if (conf == NULL || key == NULL || value == NULL)
		return message_set(why, why_size, -EINVAL, "conf, key and value must not be NULL");
	const struct row *row = find_row(key);
	if (row == NULL) {
		char **own = sources_value(conf->sources, key);
		return own != NULL ? set_own(own, value, why, why_size)
				   : unknown_key(conf, key, why, why_size);
	}
	int error = row->parse(value, field(conf, row), reason, sizeof(reason));
	if (error < 0)
		return message_set(why, why_size, error, "%s=%.60s: %s", key, value, reason);
	if (row->offset == FIELD(gate.max_delay))
		conf->max_delay_set = true;
	return 0;
}

int safestart_conf_set_callbacks(struct safestart_conf *conf,
				 const struct safestart_callbacks *callbacks, void *user_data)
{
	if (conf == NULL || callbacks == NULL ||
	    callbacks->size < offsetof(struct safestart_callbacks, committed))
		return -EINVAL;
	/* The caller's may be older, or newer. */
	conf->callbacks = (struct safestart_callbacks){0};
	memcpy(&conf->callbacks, callbacks,
	       callbacks->size < sizeof(conf->callbacks) ? callbacks->size
							 : sizeof(conf->callbacks));
	conf->user_data = user_data;
	return 0;
}

int safestart_conf_add_source(struct safestart_conf *conf, const struct safestart_source *source,
			      void *user_data)
{
	const struct safestart_source_setting *setting;

	if (conf == NULL || source == NULL)
		return -EINVAL;
	int error = sources_check(conf->sources, source);
	if (error < 0)
		return error;
	for (setting = source->settings; setting != NULL && setting->key != NULL; setting++) {
		if (find_row(setting->key) != NULL)
			return -EEXIST;
	}
	return sources_add(&conf->sources, source, user_data);
}

/* ---- From what was set to what a handle works by ---- */

/* As the program was started: some write a title over their arguments later, such as nginx. */
static char program_name[NAME_MAX + 1];

static void __attribute__((constructor)) copy_program_name(void)
{
	message_copy(program_name, sizeof(program_name), program_invocation_short_name);
}

static int copy_string(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL ? 0 : -ENOMEM;
}

/* The host may change its directory later; what was meant is what was meant at open. */
static int copy_path(char **to, const char *from)
{
	if (from == NULL || from[0] == '/')
		return copy_string(to, from);
	char *directory = getcwd(NULL, 0);
	if (directory == NULL)
		return errno == ENOMEM ? -ENOMEM : copy_string(to, from);
	int length = asprintf(to, "%s/%s", directory, from);
	if (length < 0)
		*to = NULL;
	free(directory);
	return length < 0 ? -ENOMEM : 0;
}

/* Takes over `from`. */
static void replace_string(char **to, char **from)
{
	free(*to);
	*to = *from;
	*from = NULL;
}

/* The handle's own: the caller may free or change the settings as soon as open has returned. */
static struct safestart_conf *copy_conf(const struct safestart_conf *conf)
{
	struct safestart_conf *copy = calloc(1, sizeof(*copy));
	const char *name = conf->settings.name != NULL ? conf->settings.name : program_name;

	if (copy == NULL)
		return NULL;
	copy->settings = conf->settings;
	copy->settings.name = copy->settings.source = copy->settings.last_good =
		copy->settings.lock = copy->settings.control = NULL;
	copy->callbacks = conf->callbacks;
	copy->user_data = conf->user_data;
	if ((copy->settings.name = strdup(name)) != NULL &&
	    (copy->settings.source = strdup(conf->settings.source)) != NULL &&
	    copy_path(&copy->settings.last_good, conf->settings.last_good) == 0 &&
	    copy_path(&copy->settings.lock, conf->settings.lock) == 0 &&
	    copy_path(&copy->settings.control, conf->settings.control) == 0 &&
	    sources_copy(&copy->sources, conf->sources) == 0)
		return copy;
	safestart_conf_free(copy);
	return NULL;
}

/* Any that events=pull would never call. */
static bool has_callbacks(const struct safestart_callbacks *callbacks)
{
	return callbacks->prepare != NULL || callbacks->retire != NULL || callbacks->log != NULL ||
	       callbacks->outcome != NULL || callbacks->retire_node != NULL ||
	       callbacks->restart != NULL || callbacks->committed != NULL;
}

/* What no single setting can tell. */
static int check_together(struct safestart_conf *conf, bool max_delay_set, char *why,
			  size_t why_size)
{
	struct gate_conf *gate = &conf->settings.gate;
	const char *argument;

	if (gate->max_delay < gate->debounce) {
		if (max_delay_set)
			return message_set(why, why_size, -EINVAL,
					   "max_delay is shorter than debounce: no request could "
					   "wait for the quiet time; raise max_delay or lower "
					   "debounce");
		gate->max_delay = gate->debounce;
	}
	if (gate->retry_max < gate->retry_min)
		return message_set(why, why_size, -EINVAL,
				   "retry_max is shorter than retry_min; raise retry_max or lower "
				   "retry_min");
	if (conf->settings.lock != NULL &&
	    lock_file_check_path(conf->settings.lock, why, why_size) < 0)
		return -EINVAL;
	if (conf->settings.lock_share && conf->settings.lock == NULL)
		return message_set(why, why_size, -EINVAL,
				   "lock_share=yes needs a file to share: set lock=PATH too");
	if (conf->settings.lock_share && strcmp(conf->settings.source, "none") != 0)
		return message_set(why, why_size, -EINVAL,
				   "lock_share=yes with source=%.60s: the run of one process "
				   "cannot apply nodes in another; set source=none, or leave "
				   "lock_share out (each process then makes its own run, one after "
				   "the other)",
				   conf->settings.source);
	if (strcmp(conf->settings.source, "push") != 0 &&
	    strcmp(conf->settings.source, "none") != 0 &&
	    sources_find(conf->sources, conf->settings.source, &argument) == NULL)
		return message_set(why, why_size, -EINVAL,
				   "source=%.60s: no such source; there are push, none, file:PATH "
				   "and those added with safestart_conf_add_source()",
				   conf->settings.source);
	if (conf->settings.events_pull && has_callbacks(&conf->callbacks))
		return message_set(why, why_size, -EINVAL,
				   "events=pull: no callback but `destroy` would ever be called; "
				   "leave them out and take events (safestart_next_event()), or "
				   "set events=callback");
	return 0;
}

int conf_resolve(struct safestart_conf **out, const struct safestart_conf *conf, char *why,
		 size_t why_size)
{
	struct safestart_conf *defaults = conf == NULL ? safestart_conf_new() : NULL;
	const struct safestart_conf *from = conf != NULL ? conf : defaults;

	*out = from != NULL ? copy_conf(from) : NULL;
	int error = *out != NULL ? check_together(*out, from->max_delay_set, why, why_size)
				 : message_set(why, why_size, -ENOMEM, "out of memory");
	safestart_conf_free(defaults);
	if (error < 0) {
		safestart_conf_free(*out);
		*out = NULL;
	}
	return error;
}

int conf_set_in_child(struct safestart_conf *own, const char *key, const char *value, char *why,
		      size_t why_size)
{
	struct safestart_conf *given = safestart_conf_new();
	char *path = NULL;

	if (given == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	int error = safestart_conf_set(given, key, value, why, why_size);
	if (error == 0 && strcmp(key, "name") == 0 && value[0] != '\0')
		replace_string(&own->settings.name, &given->settings.name);
	else if (error == 0 && strcmp(key, "serves") == 0)
		own->settings.serves = given->settings.serves;
	else if (error == 0 && strcmp(key, "control") == 0)
		error = copy_path(&path, given->settings.control);
	else if (error == 0)
		error = message_set(why, why_size, -EINVAL,
				    "%.40s=%.60s: a forked child may set a name, control and "
				    "serves; the rest is as the handle was opened",
				    key, value);
	if (path != NULL)
		replace_string(&own->settings.control, &path);
	safestart_conf_free(given);
	return error;
}

/* Warnings are said where nothing worse is to be said. */
static void say_accepted(const struct nodeset *set, char *why, size_t why_size)
{
	char warnings[NODESET_WARNINGS_SIZE];

	nodeset_say_warnings(&set->warnings, warnings, sizeof(warnings));
	message_set(why, why_size, 0, "%zu nodes%s%s", set->count, warnings[0] != '\0' ? "; " : "",
		    warnings);
}

int safestart_target_id(const struct safestart_conf *conf, const char *target, char *id,
			size_t size)
{
	char address[NODE_ADDRESS_SIZE];

	if (target == NULL || id == NULL ||
	    node_normalise(address, target, conf != NULL ? conf->settings.limits.default_port : 0,
			   NULL, 0) < 0)
		return -EINVAL;
	size_t length = strlen(address);
	if (length >= size)
		return -ENOSPC;
	memcpy(id, address, length + 1);
	return (int)length;
}

int safestart_check(const struct safestart_conf *conf, const char *json, char *why, size_t why_size)
{
	struct safestart_conf *resolved;
	struct nodeset *set;

	if (json == NULL)
		return message_set(why, why_size, -EINVAL, "json is NULL: there is no document");
	int error = conf_resolve(&resolved, conf, why, why_size);
	if (error < 0)
		return error;
	const struct settings *settings = &resolved->settings;
	error = nodeset_parse(&set, json, strlen(json), &settings->limits, why, why_size);
	if (error == 0)
		error = nodeset_usable(set, why, why_size);
	if (error == 0)
		error = nodeset_check_rails(&settings->rails, &(struct nodeset_before){0},
					    set->count, false, why, why_size);
	if (error == 0 && set->fault_count > 0) {
		error = set->fault_count > INT32_MAX ? INT32_MAX : (int)set->fault_count;
		message_set(why, why_size, 0, "%zu of %zu entries would be left out: %s",
			    set->fault_count, set->fault_count + set->count, set->first_reason);
	}
	if (error == 0)
		say_accepted(set, why, why_size);
	nodeset_unref(set);
	safestart_conf_free(resolved);
	return error;
}
