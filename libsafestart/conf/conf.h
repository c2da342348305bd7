/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conf: every setting in one table: key, default, parser, one line of help. The library, the README
 * and every program that prints help read the same table. No thread, no clock. */
#ifndef SAFESTART_CONF_H
#define SAFESTART_CONF_H

#include <safestart/safestart.h>
#include <stdbool.h>

#include "nodes/nodeset.h"
#include "request/gate.h"
#include "source/sources.h"

struct settings {
	char *name;
	char *source;    /* as given: "file:PATH" */
	char *last_good; /* NULL: none */
	char *control;   /* NULL: none */
	struct gate_conf gate;
	int64_t run_timeout;
	int64_t reconcile;
	char *lock; /* NULL: none */
	int64_t lock_timeout;
	bool lock_share;
	struct nodeset_rails rails;
	struct nodeset_limits limits;
	bool serves;
	bool thread;
	bool start_after_fork; /* nothing runs before safestart_after_fork() */
	bool events_pull;      /* no callbacks: the application takes events */
};

struct safestart_conf {
	struct settings settings;
	bool max_delay_set;
	struct safestart_callbacks callbacks;
	void *user_data;
	struct source_entry *sources;
};

/* A copy with everything checked that needs more than one setting. 0; -EINVAL and the reason;
 * -ENOMEM. */
int conf_resolve(struct safestart_conf **out, const struct safestart_conf *conf, char *why,
		 size_t why_size);

/* Change what a forked child may change of its own copy: name, control, serves. 0; -EINVAL and the
 * reason; -ENOMEM. On error nothing has changed. */
int conf_set_in_child(struct safestart_conf *own, const char *key, const char *value, char *why,
		      size_t why_size);

#endif
