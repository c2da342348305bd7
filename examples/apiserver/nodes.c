/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes - see nodes.h. The callbacks run on threads of the library, one at a time: they may block.
 */
#include "nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pool.h"

#define POOL_SIZE 4
#define FILE_MAX 1048576

/* A node that is not usable is left out of the set, with the reason, and retried later; the others
 * go live. */
static int add_node(struct safestart_run *run, const struct safestart_node *node)
{
	char why[160];
	struct pool *pool = pool_open(safestart_node_host(node), safestart_node_port(node),
				      POOL_SIZE, why, sizeof(why));
	int r;

	if (!pool)
		return safestart_run_reject(run, safestart_node_id(node), why);
	r = safestart_run_set_node_data(run, node, pool);
	if (r < 0)
		pool_close(pool); /* the node did not take it: it is still ours */
	return r;
}

/*
 * Connects to new nodes before any request can use them. Nodes that stay keep their pool. One node
 * after the other is fine for some dozens of nodes. With hundreds, of which many may not answer,
 * connect to all at the same time, as reload_hook does.
 */
static int prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, r = 0;

	(void)user_data;
	for (size_t i = 0; r >= 0 && (node = safestart_run_change(run, i, &kind)); i++) {
		if (safestart_run_cancelled(run))
			return -ECANCELED;
		if (kind != SAFESTART_REMOVED)
			r = add_node(run, node);
	}
	return r;
}

static void retire_node(void *data, void *user_data)
{
	(void)user_data;
	pool_close(data);
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)user_data;
	log_line(level, "%s", message);
}

static int apply_settings(struct safestart_conf *conf, char *const *settings, size_t count,
			  char *why, size_t why_size)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < count; i++) {
		const char *equals = strchr(settings[i], '=');
		char key[64];

		if (!equals || (size_t)(equals - settings[i]) >= sizeof(key)) {
			snprintf(why, why_size, "--set %s is not KEY=VALUE", settings[i]);
			return -EINVAL;
		}
		memcpy(key, settings[i], (size_t)(equals - settings[i]));
		key[equals - settings[i]] = '\0';
		r = safestart_conf_set(conf, key, equals + 1, why, why_size);
	}
	return r;
}

static int push_file(struct safestart *ss, const char *path, char *why, size_t why_size)
{
	FILE *file = fopen(path, "re");
	char *text = malloc(FILE_MAX + 1);
	int r = -errno;

	if (file && text) {
		text[fread(text, 1, FILE_MAX, file)] = '\0';
		r = safestart_nodes_replace(ss, text, NULL, why, why_size);
	} else {
		snprintf(why, why_size, "cannot read the nodes from %s: %s", path,
			 safestart_strerror(errno));
	}
	if (file)
		fclose(file);
	free(text);
	return r;
}

int nodes_open(struct safestart **out, const char *path, char *const *settings, size_t count,
	       bool read_once, char *why, size_t why_size)
{
	struct safestart_callbacks callbacks = {
		.size = sizeof(callbacks),
		.prepare = prepare,
		.log = on_log,
		.retire_node = retire_node,
	};
	struct safestart_conf *conf = safestart_conf_new();
	char source[4096];
	int r;

	snprintf(why, why_size, "out of memory");
	snprintf(source, sizeof(source), read_once ? "push" : "file:%s", path);
	r = safestart_conf_set(conf, "source", source, why, why_size);
	if (r >= 0)
		r = apply_settings(conf, settings, count, why, why_size);
	if (r >= 0)
		r = safestart_conf_set_callbacks(conf, &callbacks, NULL);
	if (r >= 0)
		r = safestart_open(out, conf, why, why_size);
	safestart_conf_free(conf);
	if (r >= 0 && read_once)
		r = push_file(*out, path, why, why_size);
	return r;
}
