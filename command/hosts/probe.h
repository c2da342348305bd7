/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* probe: tests whether nodes accept a TCP connection, name lookup included. A fixed number of
 * threads probe, so that only so many probes run at once; each node has its own time, so that many
 * monitors do not probe it in the same moment. */
#ifndef SAFESTART_COMMAND_PROBE_H
#define SAFESTART_COMMAND_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Result of the newest probe of one address. */
struct probed {
	unsigned times; /* number of probes so far; 0: none yet */
	bool answers;
	char why[128]; /* the reason, if it does not answer */
};

struct prober;

/* Starts the threads; they live as long as the program. `interval` 0: each address once. NULL: no
 * memory, or no thread could be created; errno says which. */
struct prober *prober_start(unsigned at_a_time, int64_t interval, int64_t timeout);

/* From now on these addresses are probed and no others; results of addresses that stay are kept.
 * False: no memory, nothing has changed. */
bool prober_watch(struct prober *prober, const char *const *addresses, size_t count);

/* Copies the newest result of an address; all zero if it is not probed. */
void prober_result(struct prober *prober, const char *address, struct probed *probed);

/* Waits until a probe has ended, or until that time (clock_now()). True: every address has been
 * probed at least once. */
bool prober_wait(struct prober *prober, int64_t until);

#endif
