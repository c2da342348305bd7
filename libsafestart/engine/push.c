/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* push: nodes that come by call: replace, announce, withdraw. Any thread. A set and the request for
 * it are ordered by push.lock: a run that the request leads to finds this set or a later one. [P2]
 */
#include <errno.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "engine/engine.h"
#include "run/last_good.h"

/* May nodes be pushed here and now? */
static int check(struct safestart *ss, char *why, size_t why_size)
{
	if (ss == NULL)
		return message_set(why, why_size, -EINVAL, "ss is NULL: there is no handle");
	if (ss->source.kind != SOURCE_PUSH)
		return message_set(why, why_size, -ENOTSUP,
				   "nodes cannot be pushed: they come from source=%.60s; with "
				   "source=push they can",
				   ss->source.name);
	int error = ss->revive(ss);
	if (error < 0)
		return message_set(why, why_size, error,
				   "this forked process cannot make runs of its own yet: %s",
				   safestart_strerror(error));
	if (request_is_shut(&ss->door))
		return message_set(why, why_size, -ECANCELED, "the handle was shut down");
	return 0;
}

/* Put `set` (consumed) in place of the desired one and ask for it. Releases push.lock before it
 * asks: a run that the request leads to finds this set or a later one. [P2] */
static int replace_and_unlock(struct safestart *ss, struct nodeset *set, uint64_t *ticket)
{
	struct nodeset *old = ss->source.push.desired;

	invariant(set != NULL && set != old && ss->source.kind == SOURCE_PUSH);
	ss->source.push.desired = set;
	pthread_mutex_unlock(&ss->source.push.lock);
	nodeset_unref(old);
	uint64_t issued = request_enter(&ss->door, 0, NULL);
	if (ticket != NULL)
		*ticket = issued;
	return issued != 0 ? 0 : -ECANCELED;
}

int safestart_nodes_replace(struct safestart *ss, const char *json, uint64_t *ticket, char *why,
			    size_t why_size)
{
	struct nodeset *set;

	message_set(why, why_size, 0, "%s", "");
	int error = check(ss, why, why_size);
	if (error < 0)
		return error;
	if (json == NULL)
		return message_set(why, why_size, -EINVAL, "json is NULL: there is no document");
	error = nodeset_parse(&set, json, strlen(json), &handle_settings(ss)->limits, why,
			      why_size);
	if (error < 0)
		return error;
	nodeset_say_warnings(&set->warnings, why, why_size);
	pthread_mutex_lock(&ss->source.push.lock);
	return replace_and_unlock(ss, set, ticket);
}

/* Before anything was pushed or loaded: what last_good keeps, NULL without. Read before the lock is
 * taken. */
static struct nodeset *kept_base(struct safestart *ss)
{
	THREAD_NOT_CANCELLED;
	struct nodeset *kept = NULL, *desired = push_desired(&ss->source.push);
	size_t unread;

	/* The first run says what is wrong with it, and refuses what is smaller. [P9] */
	if (desired == NULL && safestart_generation(ss) == 0 &&
	    handle_settings(ss)->last_good != NULL)
		(void)last_good_load(&kept, &unread, handle_settings(ss), NULL, 0);
	nodeset_unref(desired);
	return kept;
}

/* What one entry is changed of: the desired set, before anything was pushed what is live or kept.
 */
static struct nodeset *base_locked(struct safestart *ss, struct nodeset *kept)
{
	if (ss->source.push.desired != NULL)
		return nodeset_ref(ss->source.push.desired);
	if (kept != NULL && safestart_generation(ss) == 0)
		return nodeset_ref(kept);
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	struct nodeset *base = nodeset_new(live->nodes, live->count);
	safestart_snapshot_release(live);
	return base;
}

/* The node with its old labels, another address and, if given, another incarnation. */
static int make_node(struct safestart_node **out, const struct nodeset *base, const char *id,
		     const char *address, uint16_t default_port, const char *incarnation)
{
	struct node_label labels[NODE_LABELS_MAX + 1];
	const struct safestart_node *old = nodeset_find(base->nodes, base->count, id, NULL);
	const char *name = NULL;
	size_t count = 0;

	while (old != NULL && (name = node_next_label(old, name)) != NULL) {
		if (incarnation == NULL || strcmp(name, "incarnation") != 0)
			labels[count++] = (struct node_label){name, node_label_value(name)};
	}
	if (incarnation != NULL)
		labels[count++] = (struct node_label){"incarnation", incarnation};
	return node_new(out, id, address, default_port, labels, count, NULL, 0);
}

int safestart_node_announce(struct safestart *ss, const char *id, const char *address,
			    const char *incarnation, uint64_t *ticket)
{
	struct safestart_node *node = NULL;
	struct nodeset *set = NULL;

	int error = check(ss, NULL, 0);
	if (error == 0 && (id == NULL || address == NULL))
		error = -EINVAL;
	if (error < 0)
		return error;
	struct nodeset *kept = kept_base(ss);
	pthread_mutex_lock(&ss->source.push.lock);
	struct nodeset *base = base_locked(ss, kept);
	error = base != NULL ? make_node(&node, base, id, address,
					 handle_settings(ss)->limits.default_port, incarnation)
			     : -ENOMEM;
	if (error == 0) {
		bool added = nodeset_find(base->nodes, base->count, id, NULL) == NULL &&
			     !nodeset_has_fault(base, id);
		if (added &&
		    base->count + base->fault_count >= handle_settings(ss)->limits.max_nodes)
			error = -E2BIG;
		else if ((set = nodeset_with(base, node)) == NULL)
			error = -ENOMEM;
	}
	nodeset_unref(base);
	nodeset_unref(kept);
	if (node != NULL && node_unref(node))
		node_free(node);
	if (error == 0)
		return replace_and_unlock(ss, set, ticket);
	pthread_mutex_unlock(&ss->source.push.lock);
	return error;
}

int safestart_node_withdraw(struct safestart *ss, const char *id, uint64_t *ticket)
{
	struct nodeset *set = NULL;

	int error = check(ss, NULL, 0);
	if (error == 0 && id == NULL)
		error = -EINVAL;
	if (error < 0)
		return error;
	struct nodeset *kept = kept_base(ss);
	pthread_mutex_lock(&ss->source.push.lock);
	struct nodeset *base = base_locked(ss, kept);
	if (base != NULL && nodeset_find(base->nodes, base->count, id, NULL) == NULL &&
	    !nodeset_has_fault(base, id))
		error = -ENOENT;
	else if (base == NULL || (set = nodeset_without(base, id)) == NULL)
		error = -ENOMEM;
	nodeset_unref(base);
	nodeset_unref(kept);
	if (error == 0)
		return replace_and_unlock(ss, set, ticket);
	pthread_mutex_unlock(&ss->source.push.lock);
	return error;
}
