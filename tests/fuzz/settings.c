/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "settings.h"

#include <errno.h>

#include "desired.h"
#include "virtual.h"

static void set(struct safestart_conf *conf, const char *key, const char *value)
{
	HOLD(safestart_conf_set(conf, key, value, NULL, 0) == 0);
}

/* The content of last_good: unusable content counts as nothing. */
static void keep(struct input *input, struct safestart_conf *conf)
{
	int count = input_byte(input) & 3;

	set(conf, "last_good", "/kept");
	desired_write(input, count, &model.kept, application.kept, sizeof(application.kept));
	model.kept_any = model_count(model.kept.node) > 0 || (count == 0 && model.allow_empty);
	if (!model.kept_any)
		application.kept[0] = '\0';
}

void settings_open(struct input *input)
{
	static const unsigned shrinks[] = {50, 0, 25, 100};
	uint8_t one = input_byte(input), two = input_byte(input);
	struct safestart_conf *conf = safestart_conf_new();
	char text[32], why[100];

	model.push = !(one & 1);
	model.has_prepare = model.pull || !(one & 2);
	model.has_restart = model.pull || (one & 4);
	model.allow_empty = one & 8;
	model.max_shrink = shrinks[one >> 4 & 3];
	model.shrink_window = two & 128 ? 0 : 60 * SECOND;
	model.min_nodes = one >> 6;
	model.max_nodes = two & 1 ? 6 : 100000;
	model.retries = !(two & 2);
	model.min_interval = two & 4 ? SECOND : 0;
	model.run_timeout = two & 8 ? 2 * SECOND : 30 * SECOND;
	model.reconciles = !model.push && (two & 32);
	model.last_good = two & 64;
	model.first = !model.push || model.last_good;
	if (model.last_good)
		keep(input, conf);
	snprintf(text, sizeof(text), "%u%%", model.max_shrink);
	set(conf, "max_shrink", text);
	set(conf, "shrink_window", two & 128 ? "0" : "1m");
	snprintf(text, sizeof(text), "%zu", model.min_nodes);
	set(conf, "min_nodes", text);
	snprintf(text, sizeof(text), "%zu", model.max_nodes);
	set(conf, "max_nodes", text);
	set(conf, "allow_empty", model.allow_empty ? "yes" : "no");
	set(conf, "retry_min", model.retries ? "100ms" : "0");
	set(conf, "min_interval", model.min_interval > 0 ? "1s" : "0");
	set(conf, "run_timeout", two & 8 ? "2s" : "30s");
	set(conf, "debounce", two & 16 ? "100ms" : "0");
	set(conf, "reconcile", model.reconciles ? "30s" : "0");
	set(conf, "source", model.push ? "push" : "told");
	set(conf, "name", "fuzz");
	set(conf, "thread", "no");
	set(conf, "events", model.pull ? "pull" : "callback");
	application_use(conf);
	/* An open that fails calls nothing, and leaves nothing. */
	application.open_fails = !model.push && (two & 24) == 24;
	if (application.open_fails)
		HOLD(safestart_open(&application.ss, conf, why, sizeof(why)) == -EIO &&
		     application.ss == NULL && application.destroyed == 0);
	HOLD(safestart_open(&application.ss, conf, why, sizeof(why)) == 0);
	safestart_conf_free(conf);
}
