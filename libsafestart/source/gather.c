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
	log_line(gather->log, LOG_WARNING, "%s", message);
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
