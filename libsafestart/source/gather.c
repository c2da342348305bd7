/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gather: what a source calls. Touches nothing but the gather: an expired one may still be in use
 * while the next run reads. */
#include "source/gather.h"

#include <errno.h>

#include "base/message.h"

int safestart_gather_json(struct safestart_gather *gather, const char *json, size_t length)
{
	struct nodeset *set;

	int error = nodeset_parse(&set, json, length, gather->limits, gather->words,
				  sizeof(gather->words));
	if (error < 0)
		return error;
	nodeset_unref(gather->set);
	gather->set = set;
	return 0;
}

int safestart_gather_unchanged(struct safestart_gather *gather)
{
	if (!gather->may_be_unchanged)
		return -EAGAIN;
	gather->unchanged = true;
	return 0;
}

int safestart_gather_fail(struct safestart_gather *gather, int error, const char *message)
{
	message_copy(gather->words, sizeof(gather->words), message);
	return error < 0 ? error : -EIO;
}

void safestart_gather_warn(struct safestart_gather *gather, const char *message)
{
	struct gather_warnings *warnings = gather->warnings;
	uint32_t words = 2166136261u; /* FNV-1a */

	for (const char *at = message; *at != '\0'; at++)
		words = (words ^ (unsigned char)*at) * 16777619u;
	if (atomic_exchange(&warnings->words, words) != words)
		atomic_store(&warnings->times, 0);
	atomic_store(&warnings->said, true);
	log_line(gather->log, log_repeated(LOG_WARNING, atomic_fetch_add(&warnings->times, 1) + 1),
		 "%s", message);
}

int safestart_gather_forced(const struct safestart_gather *gather)
{
	return gather->forced;
}

int safestart_gather_cancelled(const struct safestart_gather *gather)
{
	return gather->cancelled(gather);
}

size_t safestart_gather_max_bytes(const struct safestart_gather *gather)
{
	return gather->limits->max_bytes;
}

int safestart_gather_finish(struct safestart_gather *gather, int error)
{
	return gather->finish(gather, error);
}
