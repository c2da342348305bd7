/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server KEY=VALUE... - a small server for the tests of the command: libsafestart's settings as
 * arguments, one order a line on standard input, one answer a line on standard output. It ends with
 * its input.
 *
 *   report ID ERROR   a request to the node went so (0: worked)
 *   push JSON         the whole set, and how that ended
 *   prepare ok | fail ERRNO | hold | reject ID
 *   own | disown      hold the snapshot that is live / give it back
 *   log TEXT          nothing of ours: the library says why it refuses a text that is malformed
 */
#include <errno.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct safestart *handle;
static struct safestart_snapshot *owned;
static _Atomic int error;
static _Atomic bool hold;
static const char *_Atomic rejected;

static int prepare(struct safestart_run *run, void *user_data)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	const char *id = rejected;

	(void)user_data;
	while (hold && !safestart_run_cancelled(run))
		nanosleep(&moment, NULL);
	if (id != NULL)
		safestart_run_reject(run, id, "it does not answer");
	return -error;
}

static const char *report(const char *id, int how)
{
	const struct safestart_snapshot *live = safestart_read_lock(handle);
	const struct safestart_node *node = safestart_snapshot_find(live, id);
	const char *said = node != NULL ? "ok" : "not live";

	safestart_node_report(node, how);
	safestart_read_unlock(handle);
	return said;
}

static void push(const char *json)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket;
	char why[256];

	if (safestart_nodes_replace(handle, json, &ticket, why, sizeof(why)) < 0 ||
	    safestart_wait(handle, ticket, 60000, &outcome) < 0)
		printf("error %s\n", why);
	else
		printf("%d %s\n", outcome.verdict, outcome.message);
}

static void set_prepare(const char *how, const char *what)
{
	error = strcmp(how, "fail") == 0 ? atoi(what) : 0;
	hold = strcmp(how, "hold") == 0;
	rejected = strcmp(how, "reject") == 0 ? strdup(what) : NULL; /* lives as long as we do */
	puts("ok");
}

static void obey(const char *order, const char *first, const char *second, const char *rest)
{
	if (strcmp(order, "report") == 0) {
		puts(report(first, atoi(second)));
	} else if (strcmp(order, "push") == 0) {
		push(rest);
	} else if (strcmp(order, "prepare") == 0) {
		set_prepare(first, second);
	} else if (strcmp(order, "own") == 0) {
		owned = safestart_snapshot_acquire(handle);
		puts("ok");
	} else {
		safestart_snapshot_release(owned);
		owned = NULL;
		puts("ok");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare};
	struct safestart_conf *conf = safestart_conf_new();
	char why[256] = "out of memory", *line = NULL, order[16], first[256], second[16];
	size_t size = 0;

	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		*value++ = '\0';
		if (safestart_conf_set(conf, argv[i], value, why, sizeof(why)) < 0)
			return fprintf(stderr, "server: %s\n", why), 2;
	}
	if (safestart_open(&handle, conf, why, sizeof(why)) < 0)
		return fprintf(stderr, "server: %s\n", why), 2;
	safestart_conf_free(conf);
	puts("open");
	fflush(stdout);
	while (getline(&line, &size, stdin) > 0) {
		line[strcspn(line, "\n")] = '\0';
		order[0] = first[0] = second[0] = '\0';
		sscanf(line, "%15s %255s %15s", order, first, second);
		obey(order, first, second, line + strcspn(line, " "));
	}
	free(line);
	hold = false;
	safestart_snapshot_release(owned);
	while (safestart_close(handle) == -ETIMEDOUT)
		;
	return 0;
}
