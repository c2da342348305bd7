/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nodes - the storage nodes of this server: the handle, opened with a connection pool for each
 * node.
 *
 * This is all a server has to write to have its nodes changed without a restart.
 */
#ifndef APISERVER_NODES_H
#define APISERVER_NODES_H

#include <stdbool.h>
#include <stddef.h>

#include <safestart/safestart.h>

/*
 * Open the handle on a file of nodes. `settings` are KEY=VALUE, handed on to the library.
 * With read_once the file is read now and never again: a server as they were, restarted for every
 * change. 0; or -errno, `why` has the words.
 */
int nodes_open(struct safestart **out, const char *path, char *const *settings, size_t count,
	       bool read_once, char *why, size_t why_size);

#endif
