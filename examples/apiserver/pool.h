/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool - open connections to one Redis server.
 *
 * A pool hangs on its node as the node's data: made in `prepare`, closed in `retire_node`, so that
 * it lives exactly as long as somebody may still hold a snapshot with this node. Any thread may use
 * it.
 */
#ifndef APISERVER_POOL_H
#define APISERVER_POOL_H

#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

struct pool;

/* Connects and checks every connection by PING. NULL: can't be used, `why` has the words. */
struct pool *pool_open(const char *host, uint16_t port, unsigned size, char *why, size_t why_size);

/* Nobody may be inside pool_command() any more. NULL is fine. */
void pool_close(struct pool *pool);

/*
 * One command on a connection of the pool; blocks until Redis has answered, or for a second or two
 * at most. Only for commands that do no harm when they are carried out twice: a connection that
 * went stale while it was idle is replaced and the command sent again. 0 and the reply, freed with
 * freeReplyObject(); or -errno.
 */
int pool_command(struct pool *pool, int argc, const char **argv, const size_t *lengths,
		 redisReply **reply);

#endif
