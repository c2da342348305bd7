/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * payments - see payments.h.
 *
 * A command to Redis blocks, so a request owns its snapshot (safestart_snapshot_acquire): the nodes
 * and their pools stay valid even if a reload comes meanwhile. Borrowing (safestart_read_lock) is
 * for what does not block: payments_owners().
 */
#include "payments.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define COPIES 2

/* Visits the nodes in a payment's own order, best first, without a list: the next node is the best
 * of those with a lower score than the last one. */
struct walk {
	const struct safestart_snapshot *nodes;
	uint64_t key;
	uint64_t score; /* of the node returned last */
	size_t index;   /* its index; breaks ties */
	bool begun;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return mix(h);
}

static struct walk walk_begin(const struct safestart_snapshot *nodes, const char *payment)
{
	return (struct walk){.nodes = nodes, .key = hash(payment)};
}

static const struct safestart_node *walk_next(struct walk *walk)
{
	const struct safestart_node *node, *best = NULL;
	uint64_t best_score = 0;
	size_t best_index = 0;

	for (size_t i = 0; (node = safestart_snapshot_at(walk->nodes, i)); i++) {
		uint64_t score = mix(hash(safestart_node_id(node)) ^ walk->key);

		if (walk->begun &&
		    (score > walk->score || (score == walk->score && i <= walk->index)))
			continue;
		if (best && score <= best_score)
			continue;
		best = node;
		best_score = score;
		best_index = i;
	}
	walk->begun = true;
	walk->score = best_score;
	walk->index = best_index;
	return best;
}

/* One command to one node. Its result is reported, which makes the node proven or failing. */
static int ask(const struct safestart_node *node, int argc, const char **argv,
	       const size_t *lengths, redisReply **reply)
{
	struct pool *pool = safestart_node_data(node);
	int r = pool ? pool_command(pool, argc, argv, lengths, reply) : -ENOTCONN;

	if (r == 0 && (*reply)->type == REDIS_REPLY_ERROR) {
		freeReplyObject(*reply);
		r = -EIO;
	}
	safestart_node_report(node, r);
	return r;
}

int payments_put(struct safestart *ss, const char *id, const char *body, size_t size)
{
	struct safestart_snapshot *nodes = safestart_snapshot_acquire(ss);
	struct walk walk = walk_begin(nodes, id);
	const struct safestart_node *node;
	redisReply *reply;
	char key[128];
	int copies = 0;

	const size_t lengths[] = {3, (size_t)snprintf(key, sizeof(key), "payment:%s", id), size};
	const char *argv[] = {"SET", key, size ? body : ""};

	while (copies < COPIES && (node = walk_next(&walk)))
		if (ask(node, 3, argv, lengths, &reply) == 0) {
			freeReplyObject(reply);
			copies++;
		}
	safestart_snapshot_release(nodes);
	return copies ? 0 : -EHOSTUNREACH;
}

static int copy_reply(const redisReply *reply, char **body, size_t *size)
{
	*size = (size_t)reply->len;
	*body = malloc(*size ? *size : 1);
	if (!*body)
		return -ENOMEM;
	memcpy(*body, reply->str, *size);
	return 0;
}

int payments_get(struct safestart *ss, const char *id, char **body, size_t *size)
{
	struct safestart_snapshot *nodes = safestart_snapshot_acquire(ss);
	struct walk walk = walk_begin(nodes, id);
	const struct safestart_node *node;
	redisReply *reply;
	char key[128];
	int r = -ENOENT;

	const size_t lengths[] = {3, (size_t)snprintf(key, sizeof(key), "payment:%s", id)};
	const char *argv[] = {"GET", key};
	bool found = false;

	while (!found && (node = walk_next(&walk))) {
		if (ask(node, 2, argv, lengths, &reply) < 0) {
			r = -EHOSTUNREACH; /* not "no such payment": this node may have it */
			continue;
		}
		found = reply->type == REDIS_REPLY_STRING;
		if (found)
			r = copy_reply(reply, body, size);
		freeReplyObject(reply);
	}
	safestart_snapshot_release(nodes);
	return r;
}

void payments_owners(struct safestart *ss, const char *id, char *text, size_t text_size)
{
	const struct safestart_snapshot *nodes = safestart_read_lock(ss);
	struct walk walk = walk_begin(nodes, id);
	const struct safestart_node *node;
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < COPIES && used < text_size && (node = walk_next(&walk)); i++)
		used += (size_t)snprintf(text + used, text_size - used, "%s\n",
					 safestart_node_id(node));
	safestart_read_unlock(ss);
}
