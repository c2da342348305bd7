/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plugin: a shared object with a copy of the library of its own, as a server's plugin that links
 * the static library. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <safestart/safestart.h>

/* What plugin_functions() returns: that copy's. */
struct plugin {
	int (*open)(struct safestart **out, const struct safestart_conf *conf, char *why,
		    size_t why_size);
	int (*close)(struct safestart *ss);
	int (*after_fork)(struct safestart *ss);
	int (*replace)(struct safestart *ss, const char *json, uint64_t *ticket, char *why,
		       size_t why_size);
	int (*wait)(struct safestart *ss, uint64_t ticket, int timeout_ms,
		    struct safestart_outcome *outcome);
	const struct safestart_snapshot *(*read_lock)(struct safestart *ss);
	void (*read_unlock)(struct safestart *ss);
	size_t (*size)(const struct safestart_snapshot *snapshot);
};

__attribute__((visibility("default"))) struct plugin plugin_functions(void);

/* Those of the copy that this is compiled against. */
static inline struct plugin functions_of_this_copy(void)
{
	return (struct plugin){.open = safestart_open,
			       .close = safestart_close,
			       .after_fork = safestart_after_fork,
			       .replace = safestart_nodes_replace,
			       .wait = safestart_wait,
			       .read_lock = safestart_read_lock,
			       .read_unlock = safestart_read_unlock,
			       .size = safestart_snapshot_size};
}

#endif
