/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host SOCKET KEY=VALUE... - a small application that obeys commands: libsafestart's settings on
 * the command line, one command for each connection on the socket (the table is at the end).
 * SIGHUP requests a reload, SIGTERM stops. It exits with 0 if all data that was attached to
 * nodes and generations has been retired exactly once. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

#define PARKED_MAX 64

enum mode {
	MODE_OK,
	MODE_HOLD,
	MODE_LATER,
	MODE_FAIL,
	MODE_REJECT
};

struct safestart *handle; /* set before SIGHUP is unblocked, never changed after */

static struct {
	_Atomic int mode;                /* enum mode: what prepare does */
	_Atomic int error;               /* MODE_FAIL */
	_Atomic int inside, most_inside; /* callbacks (except log) at the same time */
	_Atomic int prepares, outcomes;
	_Atomic int handed, retired; /* data attached to nodes and generations */
	pthread_mutex_t lock;
	char reject[64];                          /* guarded by lock; MODE_REJECT */
	struct safestart_run *parked[PARKED_MAX]; /* guarded by lock; returned LATER */
	int parked_count;                         /* guarded by lock */
	_Atomic int connections;
	_Atomic bool stopping;
	bool driven; /* thread=no */
	pthread_t driver;
} app = {.lock = PTHREAD_MUTEX_INITIALIZER};

void pause_ms(int ms)
{
	struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (nanosleep(&rest, &rest) < 0)
		;
}

/* ---- Callbacks ---- */

static void enter(void)
{
	int inside = atomic_fetch_add(&app.inside, 1) + 1;

	if (inside > atomic_load(&app.most_inside))
		atomic_store(&app.most_inside, inside);
}

static void leave(void)
{
	atomic_fetch_sub(&app.inside, 1);
}

static void hang_data(struct safestart_run *run)
{
	const struct safestart_node *node;
	int kind;

	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		struct data *data = kind != SAFESTART_REMOVED ? calloc(1, sizeof(*data)) : NULL;
		if (data != NULL && safestart_run_set_node_data(run, node, data) == 0)
			atomic_fetch_add(&app.handed, 1);
		else
			free(data);
	}
	safestart_run_set_data(run, calloc(1, sizeof(struct data)));
	atomic_fetch_add(&app.handed, 1);
}

static void park(struct safestart_run *run)
{
	pthread_mutex_lock(&app.lock);
	if (app.parked_count < PARKED_MAX)
		app.parked[app.parked_count++] = run;
	pthread_mutex_unlock(&app.lock);
}

static void reject(struct safestart_run *run)
{
	pthread_mutex_lock(&app.lock);
	safestart_run_reject(run, app.reject, "it does not answer");
	pthread_mutex_unlock(&app.lock);
}

static int prepare(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	enter();
	atomic_fetch_add(&app.prepares, 1);
	hang_data(run);
	int mode = atomic_load(&app.mode);
	while (atomic_load(&app.mode) == MODE_HOLD && !atomic_load(&app.stopping))
		pause_ms(1);
	if (mode == MODE_LATER)
		park(run);
	if (mode == MODE_REJECT)
		reject(run);
	leave();
	return mode == MODE_LATER  ? SAFESTART_LATER
	       : mode == MODE_FAIL ? -atomic_load(&app.error)
				   : 0;
}

static void retire(void *data, void *user_data)
{
	(void)user_data;
	enter();
	free(data);
	atomic_fetch_add(&app.retired, 1);
	leave();
}

static void tell_nodes(FILE *to)
{
	const struct safestart_snapshot *live = safestart_read_lock(handle);
	const struct safestart_node *node;

	fprintf(to, "%" PRIu64, safestart_snapshot_generation(live));
	for (size_t i = 0; (node = safestart_snapshot_at(live, i)) != NULL; i++)
		fprintf(to, " %s", safestart_node_id(node));
	safestart_read_unlock(handle);
}

/* A generation is live when the outcome of its run is reported: the lines "live N ID..." in the
 * log are the whole history. */
static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	char *text = NULL;
	size_t length;

	(void)user_data;
	(void)outcome;
	enter();
	FILE *to = open_memstream(&text, &length);
	tell_nodes(to);
	fclose(to);
	fprintf(stderr, "live %s\n", text);
	free(text);
	atomic_fetch_add(&app.outcomes, 1);
	leave();
}

static void on_log(int level, const char *message, void *user_data)
{
	struct timespec now;

	(void)user_data;
	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(stderr, "%ld.%03ld <%d>%s\n", (long)now.tv_sec, now.tv_nsec / 1000000, level,
		message);
}

/* ---- Commands ---- */

static void tell_outcome(FILE *to, uint64_t ticket)
{
	static const char *const words[] = {"applied", "unchanged", "refused",
					    "failed",  "timed out", "cancelled"};
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_wait(handle, ticket, 60000, &outcome);

	if (result < 0)
		fprintf(to, "no answer (%s)\t", safestart_strerror(result));
	else
		fprintf(to, "%s\t", words[outcome.verdict]);
	fprintf(to, "%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%u\t%u\t%d\t%s\n",
		outcome.ticket, outcome.run, outcome.generation, outcome.requests, outcome.attempts,
		outcome.quarantined, outcome.error, outcome.message);
}

static void do_request(FILE *to, char *argument)
{
	fprintf(to, "%" PRIu64 "\n",
		safestart_request(handle, (uint32_t)atoi(argument), "told to"));
}

static void do_wait(FILE *to, char *argument)
{
	tell_outcome(to, strtoull(argument, NULL, 10));
}

static void do_ask(FILE *to, char *argument)
{
	tell_outcome(to, safestart_request(handle, (uint32_t)atoi(argument), "told to"));
}

static void do_replace(FILE *to, char *argument)
{
	char why[256];
	uint64_t ticket;

	if (safestart_nodes_replace(handle, argument, &ticket, why, sizeof(why)) < 0)
		fprintf(to, "not taken\t0\t0\t0\t0\t0\t0\t0\t%s\n", why);
	else
		tell_outcome(to, ticket);
}

static void do_nodes(FILE *to, char *argument)
{
	(void)argument;
	tell_nodes(to);
}

static void do_status(FILE *to, char *argument)
{
	char *text = safestart_status_json(handle);

	(void)argument;
	fputs(text, to);
	safestart_free(text);
}

static void do_prepare(FILE *to, char *argument)
{
	static const char *const words[] = {"ok", "hold", "later", "fail", "reject"};
	char *more = strchr(argument, ' ');

	if (more != NULL)
		*more++ = '\0';
	for (int mode = MODE_OK; mode <= MODE_REJECT; mode++) {
		if (strcmp(words[mode], argument) != 0)
			continue;
		pthread_mutex_lock(&app.lock);
		snprintf(app.reject, sizeof(app.reject), "%s",
			 mode == MODE_REJECT && more != NULL ? more : "");
		pthread_mutex_unlock(&app.lock);
		atomic_store(&app.error, mode == MODE_FAIL && more != NULL ? atoi(more) : EIO);
		atomic_store(&app.mode, mode);
		fputs("ok\n", to);
	}
}

/* Finishes all runs that returned LATER, oldest first, and prints each result. */
static void do_finish(FILE *to, char *argument)
{
	struct safestart_run *runs[PARKED_MAX];

	(void)argument;
	pthread_mutex_lock(&app.lock);
	int count = app.parked_count;
	memcpy(runs, app.parked, sizeof(runs));
	app.parked_count = 0;
	pthread_mutex_unlock(&app.lock);
	for (int i = 0; i < count; i++)
		fprintf(to, "%d ", safestart_run_finish(runs[i], 0));
}

static void do_figures(FILE *to, char *argument)
{
	(void)argument;
	pthread_mutex_lock(&app.lock);
	int parked = app.parked_count;
	pthread_mutex_unlock(&app.lock);
	fprintf(to,
		"{\"prepares\": %d, \"outcomes\": %d, \"inside\": %d, \"most_inside\": %d, "
		"\"parked\": %d, \"handed\": %d, \"retired\": %d, \"reads\": %lu, \"borrowing\": "
		"%d}\n",
		atomic_load(&app.prepares), atomic_load(&app.outcomes), atomic_load(&app.inside),
		atomic_load(&app.most_inside), parked, atomic_load(&app.handed),
		atomic_load(&app.retired), readers_reads(), readers_borrowing());
}

static const struct {
	const char *name;
	void (*run)(FILE *to, char *argument);
} commands[] = {
	{"request", do_request}, /* FLAGS: make a request; prints the ticket */
	{"wait", do_wait},       /* TICKET: its outcome */
	{"ask", do_ask},         /* FLAGS: make a request; prints the outcome */
	{"replace", do_replace}, /* JSON: push it, and the outcome */
	{"nodes", do_nodes},     /* the live generation and its ids */
	{"status", do_status},
	{"prepare", do_prepare}, /* ok, hold, later, fail ERRNO, reject ID */
	{"finish", do_finish},
	{"figures", do_figures},
	{"readers",
	 readers_start},      /* COUNT MS: how many readers, and how long each owns its snapshot */
	{"own", readers_own}, /* owns until `disown`; prints the generation */
	{"disown", readers_disown},
	{"borrow",
	 readers_borrow}, /* MS: borrows longer than a reader should; prints the generation */
};

static void obey(FILE *to, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	char *blank = strchr(line, ' ');
	if (blank != NULL)
		*blank = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, line) == 0)
			commands[i].run(to, blank != NULL ? blank + 1 : line + strlen(line));
	}
}

static void *serve_one(void *argument)
{
	int fd = (int)(intptr_t)argument;
	FILE *from = fdopen(fd, "r"), *to = fdopen(dup(fd), "w");
	char *line = NULL;
	size_t size = 0;

	if (from == NULL || to == NULL)
		abort();
	if (getline(&line, &size, from) > 0)
		obey(to, line);
	free(line);
	fclose(to);
	fclose(from);
	atomic_fetch_sub(&app.connections, 1);
	return NULL;
}

static void *serve(void *argument)
{
	int listener = *(int *)argument, fd;
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		atomic_fetch_add(&app.connections, 1);
		if (pthread_create(&thread, &detached, serve_one, (void *)(intptr_t)fd) != 0)
			abort();
	}
	pthread_attr_destroy(&detached);
	return NULL;
}

/* ---- Life ---- */

static void on_hangup(int signal)
{
	(void)signal;
	safestart_request_restart(handle);
}

/* thread=no: an event loop that does nothing else. */
static void *drive(void *unused)
{
	struct pollfd ready = {.fd = safestart_fd(handle), .events = POLLIN};

	(void)unused;
	do
		poll(&ready, 1, -1);
	while (safestart_dispatch(handle, 0) != -ECANCELED);
	return NULL;
}

static int open_handle(int count, char **settings)
{
	const struct safestart_callbacks callbacks = {
		.size = sizeof(callbacks),
		.prepare = prepare,
		.retire = retire,
		.retire_node = retire,
		.log = on_log,
		.outcome = on_outcome,
	};
	struct safestart_conf *conf = safestart_conf_new();
	char why[256] = "out of memory";
	int result = safestart_conf_add_source(conf, &registry_source, NULL);

	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	for (int i = 0; result == 0 && i < count; i++) {
		app.driven = app.driven || strcmp(settings[i], "thread=no") == 0;
		char *value = strchr(settings[i], '=');
		*value++ = '\0';
		result = safestart_conf_set(conf, settings[i], value, why, sizeof(why));
	}
	if (result == 0)
		result = safestart_open(&handle, conf, why, sizeof(why));
	safestart_conf_free(conf);
	if (result < 0)
		fprintf(stderr, "host: %s\n", why);
	return result;
}

static int listen_on(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 512) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

/* No thread may use the handle any more when it is closed; the shutdown answers those that wait. */
static int stop(void)
{
	int result;

	signal(SIGHUP, SIG_IGN);
	atomic_store(&app.stopping, true);
	safestart_shutdown(handle);
	while (atomic_load(&app.connections) > 0)
		pause_ms(1);
	readers_stop();
	for (int i = 0; i < app.parked_count; i++)
		safestart_run_finish(app.parked[i], -ECANCELED);
	if (app.driven)
		pthread_join(app.driver, NULL);
	while ((result = safestart_close(handle)) == -ETIMEDOUT)
		;
	fprintf(stderr, "closed: %s, %d handed over, %d given back\n", safestart_strerror(result),
		atomic_load(&app.handed), atomic_load(&app.retired));
	return result < 0 || atomic_load(&app.handed) != atomic_load(&app.retired);
}

int main(int argc, char **argv)
{
	struct sigaction hangup = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
	sigset_t blocked, mine;
	pthread_t server;
	int signal;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	/* First: signals that come from here on stay pending. */
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	if (argc < 2 || open_handle(argc - 2, argv + 2) < 0)
		return 2;
	sigaction(SIGHUP, &hangup, NULL);
	sigemptyset(&mine);
	sigaddset(&mine, SIGHUP);
	/* The library accepts requests as soon as it is open. */
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
	int listener = listen_on(argv[1]);
	if (app.driven && pthread_create(&app.driver, NULL, drive, NULL) != 0)
		return 1;
	if (pthread_create(&server, NULL, serve, &listener) != 0)
		return 1;
	sigdelset(&blocked, SIGHUP);
	sigwait(&blocked, &signal);
	shutdown(listener, SHUT_RDWR);
	pthread_join(server, NULL);
	close(listener);
	return stop();
}
