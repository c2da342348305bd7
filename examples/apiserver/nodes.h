/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nodes - the storage nodes of this server: the handle, opened with a connection pool for each
 * node.
 *
 * This is all the code that a server needs to change its nodes without a restart.
 */
#ifndef APISERVER_NODES_H
#define APISERVER_NODES_H

#include <stdbool.h>
#include <stddef.h>

#include <safestart/safestart.h>

/*
 * Opens the handle on a node file. `settings` are KEY=VALUE, passed on to the library. With
 * read_once the file is read now and never again: such a server has to be restarted for every
 * change. Returns 0; or -errno, with the text in `why`.
 */
int nodes_open(struct safestart **out, const char *path, char *const *settings, size_t count,
	       bool read_once, char *why, size_t why_size);

#endif
