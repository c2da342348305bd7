/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* monitor: the state of the monitor, which turns files and probe results into alarms and metrics.
 * Main thread only; the prober has its own lock. */
#ifndef SAFESTART_COMMAND_MONITOR_H
#define SAFESTART_COMMAND_MONITOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/file.h"
#include "files/drains.h"
#include "hosts/probe.h"

struct alarm;

/* What a file held when it was read last. */
struct monitor_seen {
	struct file_text file; /* without a text if there was an error */
	int error;
};

struct monitor {
	struct prober *prober;
	const char *file;             /* as given, for messages */
	json_t *expected, *announced; /* id → address */
	struct drains drains;
	struct monitor_seen inventory_seen, file_seen;
	bool inventory_ok, file_ok, drains_ok; /* reported when it changes */
	char *file_real;
	bool undecided; /* a node that is drained and in the file may be so for a moment only */
	bool watched;   /* all of them are probed; false: no memory, the previous ones are */
	int64_t after;
	bool json, quiet;     /* how alarms are printed; quiet: not at all */
	struct alarm *alarms; /* raised or pending, one for each node that is unannounced, missing
				or returned */
	size_t alarm_count;
	struct {
		unsigned expected, reachable, unannounced, missing, draining, returned;
	} figures;
};

/* The announced address, which the servers use; else that of the inventory. */
const char *monitor_address(const struct monitor *monitor, const char *id);

/* Evaluates every expected node; prints alarms that begin or end. `now`: clock_now(); `wall`: wall
 * clock time, for the drains. */
void monitor_evaluate(struct monitor *monitor, int64_t now, time_t wall);

json_t *monitor_json(const struct monitor *monitor);
/* 0 or an exit code. */
int monitor_write_metrics(const struct monitor *monitor, const char *path);
void monitor_end(struct monitor *monitor);

#endif
