/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reload_hook - libsafestart inside a single-threaded epoll server (thread=no).
 *
 *   reload_hook nodes.json PORT
 *
 * The library starts no thread for its decisions and callbacks: they happen inside
 * safestart_dispatch(), which the server calls when safestart_fd() is readable. `prepare` must
 * not block such a server, so it only begins to connect to the added nodes and returns
 * SAFESTART_LATER; the event loop finishes the run when every node has connected or failed.
 * Meanwhile the server serves its clients.
 *
 * SIGHUP requests a reload. Try it with `nc 127.0.0.1 PORT`: nodes, reload, status, quit.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <safestart/safestart.h>

#define DIAL_MS 2000

/* Which kind of object a descriptor in the epoll set belongs to: the first member of each struct
 * below. */
enum watch {
	WATCH_LIBRARY,
	WATCH_LISTENER,
	WATCH_CLIENT,
	WATCH_DIAL
};

/* One connection attempt to a node. Once it is connected, the socket becomes the node's data. */
struct dial {
	enum watch watch;
	int fd;
	int64_t until_ms;
	const struct safestart_node *node; /* valid as long as the run */
	struct dial *next;
};

struct client {
	enum watch watch;
	int fd;
	size_t used;
	char line[256];
	struct client *next;
};

static struct safestart *handle; /* set before SIGHUP is unblocked */
static volatile sig_atomic_t stopping;
static int epoll_fd = -1;
static struct client *clients;

static struct {
	/* The run that returned LATER, to be finished when its last dial has ended; NULL: none. */
	struct safestart_run *run;
	struct dial *dials;
} hooked;

static void on_signal(int signal)
{
	if (signal == SIGHUP)
		safestart_request_restart(
			handle); /* allowed in a signal handler: it takes no lock */
	else
		stopping = 1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int watch(int fd, uint32_t events, void *what)
{
	struct epoll_event event = {.events = events, .data.ptr = what};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* ---- Dialling: begun by prepare, finished by the event loop -------------- */

/* Data is a pointer and NULL means none, so descriptor 0 must not become NULL: it is stored as
 * the number plus 1. */
static void *fd_to_data(int fd)
{
	return (void *)(intptr_t)(fd + 1);
}

static int data_to_fd(void *data)
{
	return (int)(intptr_t)data - 1;
}

/* Called once for each socket that was attached to a node, when no reader can see it any more. */
static void retire_node(void *data, void *user_data)
{
	(void)user_data;
	close(data_to_fd(data));
}

static void reject(struct dial *dial, int error)
{
	char reason[128];

	snprintf(reason, sizeof(reason), "cannot connect to %s port %u: %s",
		 safestart_node_host(dial->node), (unsigned)safestart_node_port(dial->node),
		 safestart_strerror(error));
	safestart_run_reject(hooked.run, safestart_node_id(dial->node), reason);
}

/* This dial has ended: the node takes the socket, or is left out of the set. Frees the dial. */
static void dial_end(struct dial *dial, int error)
{
	struct dial **at = &hooked.dials;

	while (*at != dial)
		at = &(*at)->next;
	*at = dial->next;
	if (!error) {
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, dial->fd, NULL);
		error = -safestart_run_set_node_data(hooked.run, dial->node, fd_to_data(dial->fd));
	}
	if (error && error != ECANCELED)
		reject(dial, error);
	if (error && dial->fd >= 0)
		close(dial->fd); /* the node did not take it: it is still ours */
	free(dial);
}

/* Takes only numeric addresses, to keep the example short; an asynchronous resolver would look up
 * names here. */
static int dial_begin(struct dial *dial)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(safestart_node_port(dial->node))};

	if (inet_pton(AF_INET, safestart_node_host(dial->node), &to.sin_addr) != 1)
		return EAFNOSUPPORT;
	dial->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (dial->fd < 0)
		return errno;
	if (connect(dial->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		return errno;
	return -watch(dial->fd, EPOLLOUT, dial);
}

static int add_dial(const struct safestart_node *node)
{
	struct dial *dial = calloc(1, sizeof(*dial));
	int error;

	if (!dial)
		return -ENOMEM;
	*dial = (struct dial){WATCH_DIAL, -1, now_ms() + DIAL_MS, node, hooked.dials};
	hooked.dials = dial;
	error = dial_begin(dial);
	if (error)
		dial_end(dial, error);
	return 0;
}

/* The result would come too late (the deadline has passed, or we are closing): drop all dials. No
 * node has taken a socket that is closed here. */
static void abandon(void)
{
	while (hooked.dials)
		dial_end(hooked.dials, ECANCELED);
}

static int prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, r = 0;

	(void)user_data;
	/* An earlier run has not been finished yet: the library retries this one. */
	if (hooked.run)
		return -EBUSY;
	hooked.run = run;
	for (size_t i = 0; r == 0 && (node = safestart_run_change(run, i, &kind)); i++)
		if (kind != SAFESTART_REMOVED)
			r = add_dial(node);
	if (r == 0 && hooked.dials)
		return SAFESTART_LATER;
	abandon(); /* every dial has ended already, or there was no memory for one */
	hooked.run = NULL;
	return r;
}

/* Finishes the run exactly once, also when the result is not wanted any more: until then the
 * library keeps the run's memory for us. */
static void finish_when_done(void)
{
	struct safestart_run *run = hooked.run;
	int cancelled = run && safestart_run_cancelled(run);
	int64_t now = now_ms();

	if (cancelled)
		abandon();
	for (struct dial *dial = hooked.dials, *next; dial; dial = next) {
		next = dial->next;
		if (dial->until_ms <= now)
			dial_end(dial, ETIMEDOUT);
	}
	if (!run || hooked.dials)
		return;
	hooked.run = NULL;
	if (safestart_run_finish(run, cancelled ? -ECANCELED : 0) == -ESTALE && !stopping)
		fprintf(stderr, "reload_hook: connecting took too long, the result was dropped; "
				"the library retries the set\n");
}

static void on_dial(struct dial *dial)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	dial_end(dial, error);
}

/* ---- Clients: a line in, some lines out. A client that does not read loses lines. ---- */

/* Stands for a real request to a node: is the other end still there? The report makes the node
 * proven or failing. */
static void use_node(const struct safestart_node *node)
{
	int fd = data_to_fd(safestart_node_data(node));
	ssize_t n;
	char byte;

	n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	safestart_node_report(node, n > 0 || (n < 0 && errno == EAGAIN) ? 0
				    : n == 0                            ? -ECONNRESET
									: -errno);
}

static void list_nodes(struct client *client)
{
	static const char *const word[] = {"unknown", "announced",   "applied", "proven",
					   "failing", "quarantined", "retired"};
	/* Owned, not borrowed: writing to a client may block. */
	struct safestart_snapshot *nodes = safestart_snapshot_acquire(handle);
	const struct safestart_node *node;
	char why[128];

	dprintf(client->fd, "generation %" PRIu64 "\n", safestart_snapshot_generation(nodes));
	for (size_t i = 0; (node = safestart_snapshot_at(nodes, i)); i++) {
		const char *id = safestart_node_id(node);
		int state;

		use_node(node);
		state = safestart_node_state(handle, id, why, sizeof(why));
		dprintf(client->fd, "%s %s %u %s\n", id, safestart_node_host(node),
			(unsigned)safestart_node_port(node),
			state >= 0 && state <= SAFESTART_NODE_RETIRED ? word[state] : "?");
	}
	safestart_snapshot_release(nodes);
}

static void obey(struct client *client, const char *line)
{
	char *status;

	if (!strcmp(line, "nodes")) {
		list_nodes(client);
	} else if (!strcmp(line, "reload")) {
		dprintf(client->fd, "ticket %" PRIu64 "\n",
			safestart_request(handle, 0, "requested by a client"));
	} else if (!strcmp(line, "status")) {
		status = safestart_status_json(handle);
		dprintf(client->fd, "%s\n", status ? status : "out of memory");
		safestart_free(status);
	} else if (*line) {
		dprintf(client->fd, "unknown command; use nodes, reload, status or quit\n");
	}
}

static void drop_client(struct client *client)
{
	struct client **at = &clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	close(client->fd);
	free(client);
}

static void on_client(struct client *client)
{
	ssize_t n = read(client->fd, client->line + client->used,
			 sizeof(client->line) - client->used - 1);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	client->used += n > 0 ? (size_t)n : 0;
	client->line[client->used] = '\0';
	while (n > 0 && (end = strchr(client->line, '\n'))) {
		*end = '\0';
		client->line[strcspn(client->line, "\r")] = '\0';
		if (!strcmp(client->line, "quit"))
			n = 0;
		else
			obey(client, client->line);
		client->used -= (size_t)(end + 1 - client->line);
		memmove(client->line, end + 1, client->used + 1);
	}
	if (n <= 0 || client->used == sizeof(client->line) - 1)
		drop_client(client);
}

static void on_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *client = fd < 0 ? NULL : calloc(1, sizeof(*client));

	if (client) {
		client->watch = WATCH_CLIENT;
		client->fd = fd;
		client->next = clients;
		clients = client;
		if (watch(fd, EPOLLIN, client) < 0)
			drop_client(client);
	} else if (fd >= 0) {
		close(fd);
	}
}

/* ---- The loop ------------------------------------------------------------ */

static int listen_on(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 16) == 0)
		return fd;
	perror("reload_hook: cannot listen");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Runs until it is told to stop, and then until the library has nothing left to do. */
static void serve(int listener, const sigset_t *unblocked)
{
	struct epoll_event events[32];
	int r = 0;

	while (r != -ECANCELED) {
		/* While dialling, wake up now and then: dials expire and runs get cancelled. */
		int n = epoll_pwait(epoll_fd, events, 32, hooked.run || stopping ? 20 : -1,
				    unblocked);

		if (stopping)
			safestart_shutdown(handle);
		for (int i = 0; i < n; i++) {
			enum watch *what = events[i].data.ptr;

			if (*what == WATCH_LISTENER)
				on_connection(listener);
			else if (*what == WATCH_CLIENT)
				on_client((struct client *)what);
			else if (*what == WATCH_DIAL)
				on_dial((struct dial *)what);
		}
		finish_when_done();
		/* After the other descriptors: `events` must not have old events for what is
		 * prepared in here. */
		r = safestart_dispatch(handle, 0);
	}
}

static void log_line(int level, const char *message, void *user_data)
{
	(void)user_data;
	/* journald reads the level from this prefix. */
	fprintf(stderr, "<%d>%s\n", level, message);
}

static int open_handle(const char *path)
{
	struct safestart_callbacks callbacks = {
		.size = sizeof(callbacks),
		.prepare = prepare,
		.retire_node = retire_node,
		.log = log_line,
	};
	struct safestart_conf *conf = safestart_conf_new();
	char source[4096], why[256] = "out of memory";
	int r;

	snprintf(source, sizeof(source), "file:%s", path);
	r = safestart_conf_set(conf, "source", source, why, sizeof(why));
	if (r >= 0)
		r = safestart_conf_set(conf, "thread", "no", why, sizeof(why));
	if (r >= 0)
		r = safestart_conf_set_callbacks(conf, &callbacks, NULL);
	if (r >= 0)
		r = safestart_open(&handle, conf, why, sizeof(why));
	safestart_conf_free(conf);
	if (r < 0)
		fprintf(stderr, "reload_hook: %s\n", why);
	return r;
}

/* Signals are unblocked only while waiting, so that none is missed between the check of `stopping`
 * and the wait. */
static void catch_signals(sigset_t *unblocked)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGHUP);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	pthread_sigmask(SIG_BLOCK, &blocked, unblocked);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	static enum watch library = WATCH_LIBRARY, listening = WATCH_LISTENER;
	int listener, port = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
	sigset_t unblocked;

	if (port < 1 || port > 65535) {
		fprintf(stderr, "usage: reload_hook NODES.JSON PORT\n");
		return 2;
	}
	catch_signals(&unblocked);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listener = listen_on((uint16_t)port);
	if (epoll_fd < 0 || listener < 0 || open_handle(argv[1]) < 0)
		return 1;
	if (watch(listener, EPOLLIN, &listening) == 0 &&
	    watch(safestart_fd(handle), EPOLLIN, &library) == 0)
		serve(listener, &unblocked);
	while (clients)
		drop_client(clients);
	close(listener);
	close(epoll_fd);
	return safestart_close(handle) < 0; /* retires every socket that is left */
}
