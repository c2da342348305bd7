/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* monitor: finds nodes that are running but not announced, and nodes that are announced but not
 * running. The main thread reads files and evaluates; the threads of hosts/probe.c probe. It
 * changes no node file. */
#include <errno.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/probe.h"
#include "hosts/processes.h"
#include "verbs/monitor.h"
#include "verbs/verbs.h"

#define FILE_MAX ((size_t)1 << 30)

static const char *inventory, *file, *metrics_file;
static int64_t after = -1, interval = INT64_C(10000000000), timeout = INT64_C(2000000000);
static unsigned max_inflight = 32;
static bool once;
static _Atomic bool stopping;

static const struct option_row options[] = {
	{"inventory", "FILE", OPTION_TEXT, &inventory,
	 "file_sd file of all nodes that should exist; required"},
	{"file", "FILE", OPTION_TEXT, &file,
	 "the file_sd file that the servers read ($SAFESTART_NODES)"},
	{"after", "TIME", OPTION_DURATION, &after,
	 "how long a condition must last before the alarm (2m; with --once 0)"},
	{"interval", "TIME", OPTION_DURATION, &interval,
	 "how often each node is probed (10s), a tenth more or less"},
	{"probe-timeout", "TIME", OPTION_DURATION, &timeout,
	 "how long to wait for a node's answer (2s)"},
	{"max-inflight", "N", OPTION_COUNT, &max_inflight,
	 "how many nodes are probed at the same time at most (32)"},
	{"metrics-file", "PATH", OPTION_TEXT, &metrics_file,
	 "write metrics for node_exporter's textfile collector"},
	{"once", NULL, OPTION_FLAG, &once, "check once, and exit by what was found"},
	OPTION_JSON,
	OPTION_END,
};

static void on_signal(int signal)
{
	(void)signal;
	stopping = true;
}

/* ---- The files ---- */

/* Has the file been written since it was seen? A store through a mapping changes no time stamp;
 * and behind the same contents, written again, other ones and notes of drains may have come and
 * gone. Stores what it is now in *now, the caller frees its text. */
static bool has_changed(const char *path, const struct monitor_seen *seen, struct monitor_seen *now)
{
	char *real = realpath(path, NULL);

	*now = (struct monitor_seen){0};
	now->error = real != NULL ? file_read(real, FILE_MAX, &now->file) : -errno;
	free(real);
	if (now->error < 0 || seen->file.text == NULL)
		return now->error != seen->error || seen->file.text != NULL;
	const struct stat *one = &now->file.status, *other = &seen->file.status;
	return one->st_ino != other->st_ino || one->st_mtim.tv_sec != other->st_mtim.tv_sec ||
	       one->st_mtim.tv_nsec != other->st_mtim.tv_nsec ||
	       now->file.length != seen->file.length ||
	       memcmp(now->file.text, seen->file.text, now->file.length) != 0;
}

/* id → address; NULL: it cannot be read, the message is printed. `real`: its real path, the caller
 * frees it. */
static json_t *read_nodes(const char *path, char **real)
{
	struct file_sd file_sd;
	struct file_sd_entry entry = {0};
	char why[512];

	if (file_sd_open(&file_sd, path, NULL) != 0)
		return NULL;
	int usable = safestart_check(NULL, file_sd.text, why, sizeof(why));
	/* An address that cannot be probed never answers, and so never raises an alarm. */
	if (usable > 0 || usable == -EINVAL)
		(void)report(0,
			     "some nodes cannot be used, and will raise no alarm: %s; for all of "
			     "them: safestart check %s",
			     why, path);
	json_t *nodes = json_object();
	int failed = nodes == NULL;
	while (file_sd_next(&file_sd, &entry))
		failed |= json_object_set_new(nodes, entry.id, json_string(entry.address));
	if (failed != 0) { /* all of them or none: a node that is left out would never be probed */
		(void)report(0, "cannot read %s: out of memory; it is read again when it changes",
			     path);
		json_decref(nodes);
		nodes = NULL;
	} else if (real != NULL) {
		free(*real);
		*real = strdup(file_sd.file.path);
	}
	file_sd_close(&file_sd);
	return nodes;
}

/* Hands the prober the addresses of all expected nodes, as announced, because the servers use
 * those. */
static bool watch(const struct monitor *monitor)
{
	const char **addresses =
			   calloc(json_object_size(monitor->expected) + 1, sizeof(*addresses)),
		   *id;
	json_t *address;
	size_t count = 0;

	if (addresses == NULL)
		return false;
	json_object_foreach(monitor->expected, id, address)
		addresses[count++] = monitor_address(monitor, id);
	bool ok = prober_watch(monitor->prober, addresses, count);
	free(addresses);
	return ok;
}

/* Reads a file that has changed. If it cannot be read, the old nodes stay, and that is reported
 * once [P9]. True: there are new nodes. */
static bool reread(const char *path, struct monitor_seen *seen, json_t **nodes, char **real,
		   bool *ok)
{
	struct monitor_seen now;

	bool again = has_changed(path, seen, &now) || *nodes == NULL;
	free(seen->file.text);
	*seen = now;
	if (!again)
		return false;
	json_t *new = read_nodes(path, real);
	*ok = new != NULL;
	if (new == NULL)
		return false;
	json_decref(*nodes);
	*nodes = new;
	return true;
}

static void reread_drains(struct monitor *monitor)
{
	struct drains drains;
	char why[512] = "out of memory";

	bool ok = drains_read(&drains, monitor->file_real, why, sizeof(why)) == 0;
	if (ok) {
		drains_free(&monitor->drains);
		monitor->drains = drains;
	} else if (monitor->drains_ok) {
		(void)report(0,
			     "cannot read the notes of drained nodes; the notes read before, if "
			     "any, stay in use: %s; correct the file, or a drained node may be "
			     "reported as unannounced",
			     why);
	}
	monitor->drains_ok = ok;
}

/* Reads the announced nodes, then the notes, again until the node file did not change meanwhile.
 * Editing verbs write the two files in an order such that a node that is not in the file is in the
 * notes; read in this way, both are from the same moment. */
static bool reread_announced(struct monitor *monitor)
{
	struct monitor_seen now;
	bool changed = false, again;

	do {
		changed |= reread(file, &monitor->file_seen, &monitor->announced,
				  &monitor->file_real, &monitor->file_ok);
		if (monitor->announced != NULL)
			reread_drains(monitor);
		again = has_changed(file, &monitor->file_seen, &now);
		free(now.file.text);
	} while (!stopping && again);
	return changed;
}

/* Announced nodes that are not expected are not probed: with an incomplete inventory everything
 * would seem well. */
static void report_unexpected(const struct monitor *monitor)
{
	const char *id, *first = NULL;
	json_t *address;
	size_t count = 0;

	json_object_foreach(monitor->announced, id, address) {
		if (json_object_get(monitor->expected, id) != NULL)
			continue;
		first = first != NULL ? first : id;
		count++;
	}
	if (count > 0)
		(void)report(0,
			     "%zu announced node%s, such as %s, %s not in the inventory and %s not "
			     "probed; add %s to %s",
			     count, count == 1 ? "" : "s", first, count == 1 ? "is" : "are",
			     count == 1 ? "is" : "are", count == 1 ? "it" : "them", inventory);
}

/* True: both files have been read at some time, and their nodes are being probed. */
static bool reread_files(struct monitor *monitor)
{
	bool changed = reread(inventory, &monitor->inventory_seen, &monitor->expected, NULL,
			      &monitor->inventory_ok);

	changed |= reread_announced(monitor);
	if (monitor->expected == NULL || monitor->announced == NULL)
		return false;
	if (changed)
		report_unexpected(monitor);
	if (changed || !monitor->watched)
		monitor->watched = watch(monitor);
	return monitor->watched;
}

/* ---- The loop ---- */

static int finish(struct monitor *monitor)
{
	int code = monitor->figures.unannounced > 0                           ? EXIT_UNANNOUNCED
		   : monitor->figures.missing + monitor->figures.returned > 0 ? EXIT_NOT_YET
									      : EXIT_DONE;

	if (!once)
		return EXIT_DONE; /* stopped by a signal, as intended */
	if (common.json)
		return print_json(monitor_json(monitor), code);
	printf("%u expected: %u reachable, %u unannounced, %u missing, %u draining",
	       monitor->figures.expected, monitor->figures.reachable, monitor->figures.unannounced,
	       monitor->figures.missing, monitor->figures.draining);
	if (monitor->figures.returned > 0)
		printf(", %u returned", monitor->figures.returned);
	putchar('\n');
	return code;
}

/* With thousands of nodes an evaluation takes time: twice a second is enough. With --once it goes
 * on as soon as a probe has ended. */
static bool pause_or_probe(struct monitor *monitor)
{
	const struct timespec half = {.tv_nsec = 500000000};

	if (once)
		return prober_wait(monitor->prober, clock_now() + half.tv_nsec);
	(void)nanosleep(&half, NULL);
	return true;
}

/* Re-reads, evaluates, writes metrics; with --once until every node was probed and --after has
 * passed. */
static int run_loop(struct monitor *monitor)
{
	const int64_t second = INT64_C(1000000000),
		      pause = interval < 5 * second ? interval : 5 * second;
	int64_t first = 0, write_at = 0;

	while (!stopping) {
		bool all = pause_or_probe(monitor);
		(void)reread_files(monitor);
		if (once && !all)
			continue;
		int64_t now = clock_now();
		first = first != 0 ? first : now;
		monitor_evaluate(monitor, now, time(NULL));
		fflush(stdout);
		bool last = once && now - first >= after && !monitor->undecided;
		if (metrics_file != NULL && (once ? last : now >= write_at)) {
			int code = monitor_write_metrics(monitor, metrics_file);
			if (code != 0 && (once || write_at == 0))
				return code; /* the path never worked */
			/* After an error wait a minute: the same message every few seconds hides
			 * others. */
			write_at = now + (code == 0 ? pause : 60 * second);
		}
		if (last)
			break;
	}
	return finish(monitor);
}

static int monitor_main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct monitor monitor = {.drains_ok = true};
	int first, code;

	if (!options_parse(&verb_monitor, argc, argv, 0, 0, &first, &code))
		return code;
	if (inventory == NULL)
		return report(EXIT_USAGE, "--inventory is missing; name a file_sd file of all "
					  "nodes that should exist");
	file = file_sd_path(file);
	if (file == NULL)
		return EXIT_USAGE;
	if (interval <= 0 || timeout <= 0 || max_inflight == 0 || max_inflight > 1000)
		return report(EXIT_USAGE, "--interval and --probe-timeout must be more than 0, and "
					  "--max-inflight from 1 to 1000");
	after = after >= 0 ? after : once ? 0 : INT64_C(120000000000);
	monitor.after = after;
	monitor.json = common.json;
	monitor.quiet = once && common.json;
	monitor.file = file;
	monitor.prober = prober_start(max_inflight, once && after == 0 ? 0 : interval, timeout);
	if (monitor.prober == NULL)
		return report(EXIT_FAILED, "cannot start a thread: %s", safestart_strerror(errno));
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (reread_files(&monitor))
		code = run_loop(&monitor);
	else /* files that cannot be read are reported already */
		code = monitor.expected != NULL && monitor.announced != NULL
			       ? report(EXIT_FAILED, "out of memory")
			       : EXIT_FAILED;
	monitor_end(&monitor);
	return code;
}

const struct verb verb_monitor = {
	.name = "monitor",
	.main = monitor_main,
	.help = "raise an alarm for nodes that are running but not announced",
	.arguments = NULL,
	.text = "Run one for each host or site. It probes every node of the inventory by TCP "
		"connect, and compares with the node file that the servers read. A node is "
		"unannounced if it answers and is expected, but is neither announced nor being "
		"drained. It is missing if it is announced but does not answer. It is returned if "
		"it is being drained, and in the node file all the same, because another program "
		"has written it back. Each of them is an alarm after --after; the beginning and "
		"the end of an alarm are printed on standard "
		"output, and the metrics file shows the alarms that are raised. Nodes that are "
		"announced but not in the inventory are not probed; a message says so.\n\nThe "
		"files are read again when they change. If one cannot be read, the nodes read "
		"before stay in use, and a message says so once.",
	.options = options,
	.examples = {"As a service",
		     "safestart monitor --inventory /etc/api/all.json --file /etc/api/nodes.json "
		     "--metrics-file /var/lib/node_exporter/safestart.prom",
		     "At the end of a playbook",
		     "safestart monitor --inventory all.json --file nodes.json --once"},
	.exits = {{0, "stopped by a signal; with --once: nothing was found"},
		  {1, "--once: nodes are missing or returned"},
		  {2, "usage error"},
		  {4, "a file cannot be read or is malformed, or the metrics cannot be written"},
		  {5, "--once: nodes are unannounced"}},
};
