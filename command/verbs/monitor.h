/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* monitor: what the files say and the probes found become alarms, and figures. */
#ifndef SAFESTART_COMMAND_MONITOR_H
#define SAFESTART_COMMAND_MONITOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "files/drains.h"
#include "hosts/probe.h"

struct alarm;

struct monitor {
	struct prober *prober;
	const char *file;             /* as it was given, for words */
	json_t *expected, *announced; /* id → address */
	struct drains drains;
	struct stat inventory_seen, file_seen;
	bool inventory_fine, file_fine, drains_fine; /* said when it changes */
	char *file_real;
	bool watched; /* all of them are probed; else for want of memory those from before */
	int64_t after;
	bool json, quiet;     /* how alarms are said; not at all */
	struct alarm *alarms; /* open or about to be, of the nodes that are not as they should be */
	size_t alarm_count;
	struct {
		unsigned expected, reachable, unannounced, missing, draining;
	} figures;
};

/* Where the servers look for it, else where the inventory says it is. */
const char *monitor_address(const struct monitor *monitor, const char *id);

/* `now`: CLOCK_MONOTONIC; `wall`: what drains go by. Says what begins and what ends. */
void monitor_evaluate(struct monitor *monitor, int64_t now, time_t wall);

json_t *monitor_json(const struct monitor *monitor);
/* 0, or how the program ends. */
int monitor_write_metrics(const struct monitor *monitor, const char *path);
void monitor_end(struct monitor *monitor);

#endif
