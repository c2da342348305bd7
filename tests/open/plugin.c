/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugin.h"

struct plugin plugin_functions(void)
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
