/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* probe: does a node answer? By TCP connect, name lookup included, on a few threads, so that only
 * so many are under way at a time; each node at its own moment, so that many monitors do not knock
 * all at once. */
#ifndef SAFESTART_COMMAND_PROBE_H
#define SAFESTART_COMMAND_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the newest probe of one address went. */
struct probed {
	unsigned times; /* how often; 0: not yet */
	bool answers;
	char why[128]; /* it does not */
};

struct prober;

/* NULL: no memory, or no thread at all. `interval` 0: each address once. */
struct prober *prober_start(unsigned at_a_time, int64_t interval, int64_t timeout);

/* From now on it probes these addresses, and no others; what is known of those that stay is kept.
 * False: no memory, and all is as it was. */
bool prober_watch(struct prober *prober, const char *const *addresses, size_t count);

/* What is known of an address. */
void prober_result(struct prober *prober, const char *address, struct probed *probed);

/* Wait until something new is known, or until the time. True: every address has been probed at
 * least once. */
bool prober_wait(struct prober *prober, int64_t until);

#endif
