/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* payload: the application's data on nodes and generations: counted, and retired once. The caller
 * guards the slots; retiring is the worker's, or after close the last owner's, with no lock held.
 * [P13] */
#include <errno.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "snapshot/snapshot.h"

uint64_t snapshot_payload_value(const struct payload *payload)
{
	return payload != NULL && payload->epoch == epoch_now() ? payload->letter.value : 0;
}

struct payload *snapshot_share_payload(struct payload *payload)
{
	if (payload == NULL)
		return NULL;
	uint32_t before = atomic_fetch_add_explicit(&payload->refs, 1, memory_order_relaxed);
	invariant(before > 0);
	invariant(before < UINT32_MAX);
	return payload;
}

/* The last reference puts it on the list: it is retired once. [P13] */
void snapshot_drop_payload(struct payload *payload, struct payload **to_retire)
{
	if (payload == NULL)
		return;
	uint32_t before = atomic_fetch_sub_explicit(&payload->refs, 1, memory_order_acq_rel);
	invariant(before > 0);
	if (before != 1)
		return;
	invariant(payload->letter.next == NULL && payload->letter.value != 0);
	payload->letter.next = (struct letter *)*to_retire;
	*to_retire = payload;
}

/* Calls the application, or leaves it a letter: no lock is held here. */
static void retire(const struct snapshot_home *home, struct payload *payload)
{
	void (*callback)(void *, void *) = payload->letter.kind == SAFESTART_EVENT_RETIRE_NODE
						   ? home->retire_node
						   : home->retire;

	invariant(atomic_load_explicit(&payload->refs, memory_order_relaxed) == 0);
	bool own = payload->epoch == epoch_now();
	if (own && home->mailbox != NULL) {
		payload->letter.given = true;
		mailbox_put(home->mailbox, &payload->letter);
		return;
	}
	if (own && callback != NULL)
		callback((void *)(uintptr_t)payload->letter.value, home->user_data);
	free(payload);
}

void snapshot_retire(const struct snapshot_home *home, struct payload *to_retire)
{
	while (to_retire != NULL) {
		struct payload *payload = to_retire;
		to_retire = (struct payload *)payload->letter.next;
		retire(home, payload);
	}
}

int snapshot_set_payload(struct payload **slot, struct payload *inherited, bool of_node,
			 uint64_t value, struct payload **to_retire)
{
	struct payload *payload = NULL;
	enum safestart_event_kind kind =
		of_node ? SAFESTART_EVENT_RETIRE_NODE : SAFESTART_EVENT_RETIRE;

	if (snapshot_payload_value(*slot) == value)
		return 0;
	if (value != 0 && snapshot_payload_value(inherited) == value) {
		invariant(inherited->letter.kind == kind);
		payload = snapshot_share_payload(inherited);
	} else if (value != 0) {
		payload = calloc(1, sizeof(*payload));
		if (payload == NULL)
			return -ENOMEM;
		atomic_init(&payload->refs, 1);
		payload->epoch = epoch_now();
		payload->letter.kind = (uint8_t)kind;
		payload->letter.value = value;
	}
	snapshot_drop_payload(*slot, to_retire);
	*slot = payload;
	invariant(snapshot_payload_value(*slot) == value);
	return 0;
}
