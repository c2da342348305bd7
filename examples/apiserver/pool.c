/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool - see pool.h. A stack of idle connections behind one mutex, never held during I/O. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static const struct timeval connect_timeout = {.tv_sec = 1};
static const struct timeval command_timeout = {.tv_sec = 1};

struct pool {
	pthread_mutex_t lock; /* guards idle[] and idle_count */
	uint16_t port;
	unsigned size;
	unsigned idle_count;
	redisContext **idle;
	char host[]; /* copied: the node's own string lives no longer than its snapshot */
};

/* hiredis reports errors in three different ways. */
static int context_error(const redisContext *context)
{
	if (!context)
		return -ENOMEM;
	if (context->err == REDIS_ERR_IO && errno)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return context->err == REDIS_ERR_EOF ? -ECONNRESET : -EIO;
}

static redisContext *dial(const struct pool *pool, char *why, size_t why_size)
{
	redisContext *context = redisConnectWithTimeout(pool->host, pool->port, connect_timeout);

	if (context && !context->err && redisSetTimeout(context, command_timeout) == REDIS_OK)
		return context;
	snprintf(why, why_size, "cannot connect to %s port %u: %s", pool->host,
		 (unsigned)pool->port, context ? context->errstr : "out of memory");
	if (context)
		redisFree(context);
	return NULL;
}

/* A server that listens may still be loading its data, or may need a password: a connection alone
 * does not show that it is usable. */
static bool ping(redisContext *context, char *why, size_t why_size)
{
	redisReply *reply = redisCommand(context, "PING");
	bool fine = reply && reply->type == REDIS_REPLY_STATUS;

	if (!fine)
		snprintf(why, why_size, "connected, but no answer to PING: %s",
			 reply ? reply->str : context->errstr);
	freeReplyObject(reply);
	return fine;
}

struct pool *pool_open(const char *host, uint16_t port, unsigned size, char *why, size_t why_size)
{
	size_t length = strlen(host) + 1;
	struct pool *pool = calloc(1, sizeof(*pool) + length);
	redisContext **idle = calloc(size, sizeof(*idle)), *context;

	if (!pool || !idle) {
		snprintf(why, why_size, "out of memory");
		free(idle);
		free(pool);
		return NULL;
	}
	memcpy(pool->host, host, length);
	pool->port = port;
	pool->size = size;
	pool->idle = idle;
	pthread_mutex_init(&pool->lock, NULL);
	while (pool->idle_count < size) {
		context = dial(pool, why, why_size);
		if (!context)
			break;
		pool->idle[pool->idle_count++] = context;
		if (!ping(context, why, why_size))
			break;
	}
	if (pool->idle_count == size)
		return pool;
	pool_close(pool);
	return NULL;
}

void pool_close(struct pool *pool)
{
	if (!pool)
		return;
	while (pool->idle_count)
		redisFree(pool->idle[--pool->idle_count]);
	pthread_mutex_destroy(&pool->lock);
	free(pool->idle);
	free(pool);
}

static redisContext *take_idle(struct pool *pool)
{
	redisContext *context = NULL;

	pthread_mutex_lock(&pool->lock);
	if (pool->idle_count)
		context = pool->idle[--pool->idle_count];
	pthread_mutex_unlock(&pool->lock);
	return context;
}

/* More than `size` connections at once are allowed, but not kept. */
static void give_back(struct pool *pool, redisContext *context)
{
	pthread_mutex_lock(&pool->lock);
	if (!context->err && pool->idle_count < pool->size) {
		pool->idle[pool->idle_count++] = context;
		context = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	if (context)
		redisFree(context);
}

int pool_command(struct pool *pool, int argc, const char **argv, const size_t *lengths,
		 redisReply **reply)
{
	redisContext *context;
	bool was_idle;
	char why[160];
	int r = 0;

	do {
		context = take_idle(pool);
		was_idle = context != NULL;
		if (!was_idle)
			context = dial(pool, why, sizeof(why));
		if (!context)
			return -ECONNREFUSED;
		errno = 0;
		*reply = redisCommandArgv(context, argc, argv, lengths);
		r = *reply ? 0 : context_error(context);
		give_back(pool, context);
		/* Redis was restarted while this connection was idle, and the other idle ones are
		 * stale too: try them all, then a new one. */
	} while (r < 0 && r != -ETIMEDOUT && was_idle);
	return r;
}
