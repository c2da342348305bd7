/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * prefork - one master, several workers, each of which follows the node file by itself.
 *
 *   prefork nodes.json [WORKERS]
 *
 * The master opens the handle with start=after_fork, forks the workers and replaces those that end.
 * In the master nothing of the library runs: there is no thread and no callback that a fork could
 * interrupt in the middle of a printf(). A worker starts the handle with safestart_after_fork():
 * from then on it has its own threads, callbacks and generations. Edit the file (or send SIGHUP to
 * the master), and every worker prepares and prints its new nodes. Kill a worker, and the master
 * starts another one. SIGTERM ends all of them.
 *
 * With $SAFESTART_CONTROL each worker has a control socket there. It tries its nodes and reports
 * how that went, so `safestart wait NODE --roster prefork=3` says when every worker uses a node.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <safestart/safestart.h>

#define WORKERS_MAX 64

struct worker {
	pid_t pid;
	time_t born; /* CLOCK_MONOTONIC: if it ends at once, the master waits before the next */
};

static struct safestart *handle; /* set before SIGHUP is unblocked, never changed after */
static int number;               /* which worker this process is; set before its handle starts */

static void on_hangup(int signal)
{
	(void)signal;
	safestart_request_restart(handle);
}

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- A worker ----------------------------------------------------------- */

/* One line, however long. */
static void print_nodes(const struct safestart_snapshot *nodes)
{
	const struct safestart_node *node;
	char line[1024];
	size_t used = 0;

	for (size_t i = 0; (node = safestart_snapshot_at(nodes, i)) && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %s",
					 safestart_node_id(node));
	printf("worker %d (process %d): generation %" PRIu64 ", %zu nodes:%s\n", number,
	       (int)getpid(), safestart_snapshot_generation(nodes), safestart_snapshot_size(nodes),
	       used ? line : "");
}

/* Where a real worker sends a request. Returns: 0 or the errno. */
static int try_node(const struct safestart_node *node)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const struct timeval patience = {.tv_sec = 1};
	struct addrinfo *found;
	char port[8];
	int error = 0;

	snprintf(port, sizeof(port), "%u", (unsigned)safestart_node_port(node));
	if (getaddrinfo(safestart_node_host(node), port, &hints, &found) != 0)
		return EHOSTUNREACH;
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    connect(fd, found->ai_addr, found->ai_addrlen) < 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	return error;
}

/* Owned, not borrowed: connecting takes its time. */
static void try_nodes(void)
{
	struct safestart_snapshot *nodes = safestart_snapshot_acquire(handle);
	const struct safestart_node *node;

	for (size_t i = 0; (node = safestart_snapshot_at(nodes, i)) != NULL; i++)
		safestart_node_report(node, try_node(node));
	safestart_snapshot_release(nodes);
}

/* ---- Its callbacks: on threads of the library that only workers have ------ */

/* Where a real worker builds its connection pools. */
static int prepare(struct safestart_run *run, void *user_data)
{
	int kind, added = 0, removed = 0;

	(void)user_data;
	for (size_t i = 0; safestart_run_change(run, i, &kind) != NULL; i++) {
		added += kind != SAFESTART_REMOVED;
		removed += kind != SAFESTART_ADDED;
	}
	printf("worker %d: preparing %d nodes, giving up %d\n", number, added, removed);
	return 0;
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)user_data;
	if (level <= LOG_WARNING)
		fprintf(stderr, "worker %d: %s\n", number, message);
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)user_data;
	if (outcome->verdict != SAFESTART_APPLIED)
		return;
	const struct safestart_snapshot *nodes = safestart_read_lock(handle);
	print_nodes(nodes);
	safestart_read_unlock(handle);
}

/* Never returns: a worker must not come back into the master's code. */
static void work(const sigset_t *stop)
{
	const struct timespec pause = {.tv_nsec = 50000000};
	struct sigaction hangup = {.sa_handler = on_hangup};
	uint64_t seen = 0;
	sigset_t hup;
	int r, idle = 0;

	prctl(PR_SET_PDEATHSIG, SIGTERM); /* no orphans when the master is killed */
	while ((r = safestart_after_fork(handle)) == -EAGAIN)
		nanosleep(&pause, NULL);
	if (r < 0) {
		fprintf(stderr, "worker %d: cannot follow the node file: %s\n", number,
			safestart_strerror(r));
		_exit(1);
	}
	sigaction(SIGHUP, &hangup, NULL);
	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &hup, NULL);

	/* Here a real worker would accept connections. Reading the generation is one load. */
	while (sigtimedwait(stop, NULL, &pause) < 0) {
		uint64_t generation = safestart_generation(handle);

		if (generation != seen || idle++ % 20 == 0) /* every second */
			try_nodes();
		seen = generation;
	}
	while (safestart_close(handle) == -ETIMEDOUT)
		;
	fflush(NULL);
	_exit(0);
}

/* ---- The master --------------------------------------------------------- */

static int start_worker(struct worker *worker, int which, const sigset_t *stop)
{
	fflush(NULL); /* otherwise the child prints what is still in our buffer once more */
	number = which;
	worker->born = now_s();
	worker->pid = fork();
	if (worker->pid == 0)
		work(stop);
	if (worker->pid < 0)
		perror("prefork: cannot fork a worker; retrying when another one ends");
	return worker->pid < 0 ? -1 : 0;
}

static void reap(struct worker *workers, int count, const sigset_t *stop)
{
	const struct timespec pause = {.tv_sec = 1};
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < count; i++)
			if (workers[i].pid == pid)
				workers[i].pid = 0;
	for (int i = 0; i < count; i++) {
		if (workers[i].pid > 0)
			continue;
		printf("master: worker %d has ended, starting another one\n", i + 1);
		if (now_s() - workers[i].born < 1)
			nanosleep(&pause, NULL);
		start_worker(&workers[i], i + 1, stop);
	}
}

static void forward(const struct worker *workers, int count, int signal)
{
	for (int i = 0; i < count; i++)
		if (workers[i].pid > 0)
			kill(workers[i].pid, signal);
}

static void supervise(int count, const sigset_t *signals, const sigset_t *stop)
{
	struct worker workers[WORKERS_MAX] = {{0}};

	for (int i = 0; i < count; i++)
		start_worker(&workers[i], i + 1, stop);
	for (;;) {
		int signal = sigwaitinfo(signals, NULL);
		if (signal == SIGCHLD)
			reap(workers, count, stop);
		else if (signal == SIGHUP)
			forward(workers, count, SIGHUP);
		else if (signal > 0)
			break;
	}
	forward(workers, count, SIGTERM);
	for (int i = 0; i < count; i++)
		if (workers[i].pid > 0)
			waitpid(workers[i].pid, NULL, 0);
}

static int open_handle(const char *path)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare,
						      .log = on_log,
						      .outcome = on_outcome};
	struct safestart_conf *conf = safestart_conf_new();
	char source[4096], why[256] = "out of memory";
	const char *control = getenv("SAFESTART_CONTROL"); /* NOLINT(concurrency-mt-unsafe) */
	int r;

	snprintf(source, sizeof(source), "file:%s", path);
	r = safestart_conf_set(conf, "source", source, why, sizeof(why));
	if (r >= 0 && control != NULL)
		r = safestart_conf_set(conf, "control", control, why, sizeof(why));
	if (r >= 0)
		r = safestart_conf_set(conf, "start", "after_fork", why, sizeof(why));
	if (r >= 0)
		r = safestart_conf_set_callbacks(conf, &callbacks, NULL);
	if (r >= 0)
		r = safestart_open(&handle, conf, why, sizeof(why));
	safestart_conf_free(conf);
	if (r < 0)
		fprintf(stderr, "prefork: %s\n", why);
	return r;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
	sigset_t signals, stop;

	if (argc < 2 || count < 1 || count > WORKERS_MAX) {
		fprintf(stderr, "usage: prefork NODES.JSON [WORKERS]   (1 to %d workers)\n",
			WORKERS_MAX);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	signals = stop;
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	if (open_handle(argv[1]) < 0)
		return 1;
	printf("master: process %d\n", (int)getpid());
	supervise(count, &signals, &stop);
	while (safestart_close(handle) == -ETIMEDOUT)
		;
	printf("master: all workers have ended\n");
	return 0;
}
