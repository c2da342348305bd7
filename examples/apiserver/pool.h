/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool - open connections to one Redis server.
 *
 * A pool is the data of its node: opened in `prepare`, closed in `retire_node`. So it lives exactly
 * as long as any thread may hold a snapshot with this node. Any thread may use it.
 */
#ifndef APISERVER_POOL_H
#define APISERVER_POOL_H

#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

struct pool;

/* Connects, and checks every connection by PING. NULL: not usable, with the reason in `why`. */
struct pool *pool_open(const char *host, uint16_t port, unsigned size, char *why, size_t why_size);

/* No thread may be inside pool_command() any more. NULL is allowed. */
void pool_close(struct pool *pool);

/*
 * One command on a connection of the pool; blocks until Redis has answered, but only a second or
 * two at most. Only for commands that may be carried out twice: if a connection went stale while it
 * was idle, it is replaced and the command is sent again. Returns 0 and the reply, freed with
 * freeReplyObject(); or -errno.
 */
int pool_command(struct pool *pool, int argc, const char **argv, const size_t *lengths,
		 redisReply **reply);

#endif
