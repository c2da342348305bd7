/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any text as settings, one per line: accepted, or refused with a clean message. A refusal
 * changes nothing; an accepted value means the same when it is written in the smallest unit; and
 * a handle opens with all settings or says why not. */
#include <errno.h>
#include <jansson.h>

#include "conf/conf.h"
#include "fuzz.h"
#include "handle.h"

#define WHY_SIZE 300

static int own_open(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data)
{
	const char *colour = safestart_source_value(conf, "own_colour");

	(void)user_data, (void)why, (void)why_size;
	*state = NULL;
	HOLD(colour != NULL && safestart_source_argument(conf) != NULL &&
	     safestart_source_value(conf, "debounce") == NULL);
	return strcmp(colour, "none") == 0 ? -EINVAL : 0;
}

static int own_gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	return safestart_gather_json(gather, "[]", 2);
}

static void own_close(void *state)
{
	(void)state;
}

static const struct safestart_source_setting own_settings[] = {{"own_colour", "green",
								"for the fuzzer"},
							       {NULL, NULL, NULL}};
static const struct safestart_source own_source = {.size = sizeof(own_source),
						   .scheme = "own",
						   .settings = own_settings,
						   .open = own_open,
						   .gather = own_gather,
						   .close = own_close};

/* ---- All settings as text, so that they can be compared ---- */

static void describe(const struct safestart_conf *conf, char *text, size_t size)
{
	const struct settings *s = &conf->settings;
	const struct gate_conf *g = &s->gate;
	char **values = sources_value(conf->sources, "own_colour");
	const char *own = values != NULL ? *values : NULL;

	snprintf(text, size,
		 "%s|%s|%s|%s|%lld %lld %lld %lld %lld|%lld %lld|%u %lld %zu %d|%zu %zu %u|%d "
		 "%d %d %d|%d|%s",
		 s->name != NULL ? s->name : "", s->source,
		 s->last_good != NULL ? s->last_good : "", s->control != NULL ? s->control : "",
		 (long long)g->debounce, (long long)g->max_delay, (long long)g->min_interval,
		 (long long)g->retry_min, (long long)g->retry_max, (long long)s->run_timeout,
		 (long long)s->reconcile, s->rails.max_shrink, (long long)s->rails.shrink_window,
		 s->rails.min_nodes, s->rails.allow_empty, s->limits.max_nodes, s->limits.max_bytes,
		 (unsigned)s->limits.default_port, s->serves, s->thread, s->start_after_fork,
		 s->events_pull, conf->max_delay_set, own != NULL ? own : "(default)");
}

/* The value of a setting in its smallest unit; false: it is not a number. */
static bool in_smallest_unit(const struct safestart_conf *conf, const char *key, char *text,
			     size_t size)
{
	const struct settings *s = &conf->settings;
	const struct {
		const char *key;
		long long value;
		const char *unit;
	} numbers[] = {{"debounce", s->gate.debounce, "ns"},
		       {"max_delay", s->gate.max_delay, "ns"},
		       {"min_interval", s->gate.min_interval, "ns"},
		       {"retry_min", s->gate.retry_min, "ns"},
		       {"retry_max", s->gate.retry_max, "ns"},
		       {"run_timeout", s->run_timeout, "ns"},
		       {"reconcile", s->reconcile, "ns"},
		       {"max_shrink", s->rails.max_shrink, "%"},
		       {"shrink_window", s->rails.shrink_window, "ns"},
		       {"min_nodes", (long long)s->rails.min_nodes, ""},
		       {"max_nodes", (long long)s->limits.max_nodes, ""},
		       {"max_bytes", (long long)s->limits.max_bytes, ""},
		       {"default_port", s->limits.default_port, ""}};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(numbers[i].key, key) == 0) {
			HOLD(numbers[i].value >= 0);
			snprintf(text, size, "%lld%s", numbers[i].value, numbers[i].unit);
			return true;
		}
	}
	return false;
}

static bool is_known(const char *key)
{
	const char *known;

	for (size_t i = 0; safestart_setting(i, &known, NULL, NULL) == 0; i++) {
		if (strcmp(known, key) == 0)
			return true;
	}
	return strcmp(key, "own_colour") == 0;
}

static void set_one(struct safestart_conf *conf, const char *key, const char *value,
		    size_t why_size)
{
	static char before[20000], after[20000];
	char *why = dirty(why_size), number[64];

	describe(conf, before, sizeof(before));
	int error = safestart_conf_set(conf, key, value, why, why_size);
	hold_words(why, why_size);
	describe(conf, after, sizeof(after));
	if (error < 0) {
		HOLD(error == -EINVAL && strcmp(before, after) == 0);
		HOLD(why_size < 2 || why[0] != '\0');
	} else {
		HOLD(error == 0 && is_known(key) && (why_size == 0 || why[0] == '\0'));
		if (in_smallest_unit(conf, key, number, sizeof(number))) {
			HOLD(safestart_conf_set(conf, key, number, why, why_size) == 0);
			describe(conf, before, sizeof(before));
			HOLD(strcmp(before, after) == 0);
		}
	}
	free(why);
}

/* "key=value", one per line; without an equals sign the value is "". */
static void set_all(struct safestart_conf *conf, char *text, size_t why_size)
{
	for (char *line = text; line != NULL;) {
		char *next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		char *value = strchr(line, '=');
		if (value != NULL)
			*value++ = '\0';
		set_one(conf, line, value != NULL ? value : "", why_size);
		line = next;
	}
}

static void hold_open(struct safestart_conf *conf, size_t why_size)
{
	static char before[20000], after[20000];
	char *why = dirty(why_size);
	struct safestart *ss = (struct safestart *)(void *)why;

	describe(conf, before, sizeof(before));
	int error = safestart_open(&ss, conf, why, why_size);
	hold_words(why, why_size);
	describe(conf, after, sizeof(after));
	HOLD(strcmp(before, after) == 0 && (error == 0) == (ss != NULL));
	if (error == 0) {
		const struct settings *settings = handle_settings(ss);
		HOLD(settings->gate.max_delay >= settings->gate.debounce &&
		     settings->gate.retry_max >= settings->gate.retry_min &&
		     settings->run_timeout > 0);
		bool short_timeout = settings->run_timeout < 1000000000;
		char *status = safestart_status_json(ss), *metrics = safestart_metrics_text(ss);
		json_t *root = status != NULL ? json_loads(status, 0, NULL) : NULL;
		HOLD(root != NULL && metrics != NULL &&
		     json_string_length(json_object_get(root, "summary")) > 0);
		json_decref(root);
		safestart_free(status);
		safestart_free(metrics);
		int closed;
		/* Close waits for run_timeout, which may be a nanosecond. */
		while ((closed = safestart_close(ss)) == -ETIMEDOUT)
			HOLD(short_timeout);
		HOLD(closed == 0);
	} else {
		HOLD(why_size < 2 || why[0] != '\0');
	}
	/* What open finds contradictory, check finds too, and the other way round, except for
	 * the source. */
	int checked = safestart_check(conf, "[{\"targets\":[\"h:1\"]}]", why, why_size);
	hold_words(why, why_size);
	HOLD(error < 0 || checked == 0 || checked == -ERANGE || checked == -E2BIG);
	free(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	size_t why_size = (size_t)input_byte(&input) * WHY_SIZE / 255,
	       length = input.left < 4096 ? input.left : 4096;
	char *text = malloc(length + 1);
	struct safestart_conf *conf = safestart_conf_new();

	HOLD(text != NULL && conf != NULL);
	HOLD(safestart_conf_add_source(conf, &own_source, NULL) == 0);
	memcpy(text, input.at, length);
	text[length] = '\0';
	set_all(conf, text, why_size);
	/* Nothing is dispatched, so nothing is read or written; threads would only take time. */
	HOLD(safestart_conf_set(conf, "thread", "no", NULL, 0) == 0);
	/* Its thread would create directories and sockets at any path that the fuzzer makes up. */
	free(conf->settings.control);
	conf->settings.control = NULL;
	hold_open(conf, why_size);
	safestart_conf_free(conf);
	free(text);
	return 0;
}
