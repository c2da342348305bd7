/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* control: the thread of the control socket: its life, its event loop, and creating the socket
 * again when that failed or when it was removed. Fields marked below as the thread's are for no
 * other thread. It must not call the application: its log messages go to the dispatching thread. */
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "control/clients.h"
#include "control/socket.h"

#define SECOND INT64_C(1000000000)
#define CHECK_MAX_NS (30 * SECOND) /* at least this often the socket is checked */
#define CHECK_MIN_NS (SECOND / 100)

/* What epoll reports as ready: a client by its index in the table, or one of these. */
enum ready {
	READY_WAKE = CLIENTS_MAX,
	READY_LISTEN
};

struct control {
	struct safestart *ss;
	_Atomic bool stop;
	pthread_t thread;

	/* Guards `busy` and all descriptors, those of socket and clients included; held around
	 * fork. Only the thread opens and closes them while it runs, so it reads them without. */
	pthread_mutex_t lock;
	bool started; /* there is a thread, in this process */
	bool busy;    /* it is not asleep: in a child its data may be half changed */
	int epoll_fd;
	int wake_fd;
	struct control_socket socket;
	struct clients clients;

	bool finished; /* the thread is about to end. Guarded by the handle's lock */

	/* The thread's. */
	int64_t check_at;    /* when the socket is checked next */
	uint32_t failures;   /* times in a row that it could not be created */
	bool accept_pending; /* clients wait to be accepted */
	int64_t accept_at;   /* no descriptors for clients: accept again then; 0: not so */
};

/* ---- The socket ---- */

/* Only the dispatching thread may call the application's log. */
static void log_later(struct control *control, int level, const char *message)
{
	events_leave_words(control->ss->events, level, message);
	handle_wake(control->ss);
}

static int64_t check_interval(const struct control *control)
{
	int64_t reconcile = handle_settings(control->ss)->reconcile;

	/* A long `reconcile` is chosen for the source; the socket is checked regardless. */
	if (reconcile == 0 || reconcile > CHECK_MAX_NS)
		return CHECK_MAX_NS;
	return reconcile > CHECK_MIN_NS ? reconcile : CHECK_MIN_NS;
}

/* Which events epoll reports for the socket. 0 or -errno. */
static int listen_for(struct control *control, bool first, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = READY_LISTEN};

	return epoll_ctl(control->epoll_fd, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
			 control->socket.fd, &event) < 0
		       ? -errno
		       : 0;
}

static void remove_socket(struct control *control)
{
	/* Not left to close(), as for a client: see disconnect(). */
	epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, control->socket.fd, NULL);
	socket_remove(&control->socket, handle_settings(control->ss)->control, &control->lock);
	control->accept_at = 0;
	control->accept_pending = false; /* they waited at this one */
	invariant(control->socket.fd < 0);
}

static void create_socket(struct control *control)
{
	const struct settings *settings = handle_settings(control->ss);
	char why[512], message[640];

	int error = socket_make(&control->socket, settings->control, settings->name, &control->lock,
				why, sizeof(why));
	if (error == 0) {
		error = listen_for(control, true, EPOLLIN);
		if (error < 0) {
			message_set(why, sizeof(why), error,
				    "no control socket: %s (epoll cannot watch it, in %.200s)",
				    safestart_strerror(error), settings->control);
			remove_socket(control);
		}
	}
	if (error == 0) {
		control->failures = 0;
		message_set(message, sizeof(message), 0, "control socket %s/%s", settings->control,
			    control->socket.name);
		log_later(control, LOG_INFO, message);
		return;
	}
	control->failures++;
	message_set(message, sizeof(message), 0,
		    "%s; until then the `safestart` command does not see this process, everything "
		    "else works; retrying in %s",
		    why, message_duration(check_interval(control)).text);
	log_later(control, log_repeated(LOG_WARNING, control->failures), message);
}

/* Create the socket again when it was removed from the directory, and retry when it could not be
 * created. Clients stay connected. [P15] */
static void check_socket(struct control *control, int64_t now)
{
	const char *directory = handle_settings(control->ss)->control;

	if (now < control->check_at)
		return;
	if (control->socket.fd >= 0 && !socket_is_there(&control->socket, directory))
		remove_socket(control);
	if (control->socket.fd < 0)
		create_socket(control);
	/* From now, not from `now`: creating it may have taken long. */
	control->check_at = loop_now() + check_interval(control);
}

/* ---- The thread ---- */

/* A child that is forked while the thread is busy must not use or free its data. [P17] */
static void set_busy(struct control *control, bool busy)
{
	pthread_mutex_lock(&control->lock);
	invariant(control->busy != busy);
	control->busy = busy;
	pthread_mutex_unlock(&control->lock);
}

/* Only note it: clients are served in turn afterwards, so none can be closed while events of it are
 * still in the list. */
static void handle_event(struct control *control, const struct epoll_event *event)
{
	uint64_t count;

	if (event->data.u32 == READY_WAKE)
		(void)!read(control->wake_fd, &count, sizeof(count));
	else if (event->data.u32 == READY_LISTEN)
		control->accept_pending = true;
	else
		clients_event(&control->clients, event->data.u32, event->events);
}

static void wait_for_events(struct control *control, int64_t until)
{
	struct epoll_event events[CLIENTS_MAX + 2];

	/* The only place where this thread sleeps; it holds no lock. */
	set_busy(control, false);
	int count = epoll_wait(control->epoll_fd, events, CLIENTS_MAX + 2,
			       until == 0 ? 0 : loop_ms_until(until));
	set_busy(control, true);
	int64_t now = loop_now();
	invariant(count <= CLIENTS_MAX + 2);
	for (int i = 0; i < count; i++)
		handle_event(control, &events[i]);
	if (control->accept_at != 0 && control->accept_at <= now)
		control->accept_at = listen_for(control, false, EPOLLIN) == 0 ? 0 : now + SECOND;
}

/* Without descriptors for them, clients get no error: they wait in the backlog and are accepted a
 * second later. [P16] */
static void accept_clients(struct control *control, int64_t now)
{
	control->accept_pending = false;
	if (clients_accept(&control->clients, control->socket.fd, now) == 0)
		return;
	/* The socket stays readable: without this the thread would spin. */
	(void)listen_for(control, false, 0);
	control->accept_at = now + SECOND;
}

/* The order in a round: the socket, clients in turn, new clients (into slots that have become
 * free), and sleep until an event or until something is due. */
static void *control_thread(void *argument)
{
	struct control *control = argument;
	struct safestart *ss = control->ss;

	invariant(control->epoll_fd >= 0 && control->wake_fd >= 0);
	set_busy(control, true);
	while (!atomic_load(&control->stop)) {
		check_socket(control, loop_now());
		int64_t until = clients_serve(&control->clients, loop_now());
		if (control->accept_pending) {
			accept_clients(control, loop_now());
			until = 0; /* the new ones have their turn at once */
		}
		if (control->check_at < until)
			until = control->check_at;
		if (control->accept_at != 0 && control->accept_at < until)
			until = control->accept_at;
		wait_for_events(control, until);
	}
	clients_finish(&control->clients);
	if (control->socket.fd >= 0)
		remove_socket(control);
	/* For control_stop(), which has a deadline; pthread_join() has none. */
	pthread_mutex_lock(&ss->lock);
	control->finished = true;
	pthread_cond_broadcast(&ss->changed);
	pthread_mutex_unlock(&ss->lock);
	return NULL;
}

/* ---- For the handle ---- */

/* No thread, no descriptors. They have been closed, or there were none. */
static void reset(struct control *control)
{
	control->started = control->busy = control->finished = false;
	atomic_store(&control->stop, false);
	control->epoll_fd = control->wake_fd = control->socket.fd = -1;
	control->check_at = control->accept_at = 0;
	control->failures = 0;
	control->accept_pending = false;
}

int control_init(struct safestart *ss, const char *directory, char *why, size_t why_size)
{
	struct stat status;

	if (directory == NULL)
		return 0;
	if (stat(directory, &status) == 0 && !S_ISDIR(status.st_mode))
		return message_set(why, why_size, -ENOTDIR,
				   "not a directory: control=%.200s; set `control` to the "
				   "directory for the control socket",
				   directory);
	if (ss->control != NULL) /* a child's may be another directory than its parent's */
		return 0;
	invariant(ss->events == NULL);
	struct control *control = calloc(1, sizeof(*control));
	ss->events = control != NULL ? events_new() : NULL;
	if (ss->events == NULL) {
		free(control);
		return message_set(why, why_size, -ENOMEM, "out of memory");
	}
	ss->control = control;
	ss->control->ss = ss;
	pthread_mutex_init(&ss->control->lock, NULL);
	reset(ss->control);
	clients_init(&ss->control->clients, ss, &ss->control->lock);
	return 0;
}

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void control_clear(struct safestart *ss)
{
	struct control *control = ss->control;

	if (control != NULL) {
		invariant(control->socket.fd < 0); /* the thread has removed it */
		close_if_open(&control->epoll_fd);
		close_if_open(&control->wake_fd);
		pthread_mutex_destroy(&control->lock);
		free(control);
	}
	events_free(ss->events);
	ss->control = NULL;
	ss->events = NULL;
}

/* Descriptors and the thread. Descriptors that were opened are closed by the caller on error. */
static int start_locked(struct control *control)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = READY_WAKE};

	invariant(control->epoll_fd < 0 && control->wake_fd < 0);
	control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (control->epoll_fd >= 0)
		control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->wake_fd < 0 ||
	    epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, control->wake_fd, &event) < 0)
		return -errno;
	control->clients.epoll_fd = control->epoll_fd;
	return thread_start(&control->thread, "safestart-ctl", control_thread, control);
}

int control_start(struct safestart *ss)
{
	struct control *control = ss->control;
	int error = 0;

	if (control == NULL)
		return 0;
	pthread_mutex_lock(&control->lock);
	if (!control->started) {
		error = start_locked(control);
		control->started = error == 0;
		if (error < 0) {
			close_if_open(&control->epoll_fd);
			close_if_open(&control->wake_fd);
		} else {
			events_listen(ss->events, control->wake_fd);
		}
	}
	invariant(!control->started || (control->epoll_fd >= 0 && control->wake_fd >= 0));
	pthread_mutex_unlock(&control->lock);
	return error;
}

bool control_is_started(struct safestart *ss)
{
	if (ss->control == NULL)
		return false;
	pthread_mutex_lock(&ss->control->lock);
	bool started = ss->control->started;
	pthread_mutex_unlock(&ss->control->lock);
	return started;
}

/* Waits with a deadline, because removing the socket may block in a file system that hangs [P14].
 * Called again after -ETIMEDOUT, it waits for the same thread. */
int control_stop(struct safestart *ss, int64_t deadline)
{
	struct control *control = ss->control;
	int error = 0;

	if (control == NULL || !control->started)
		return 0;
	atomic_store(&control->stop, true);
	loop_wake(control->wake_fd);
	pthread_mutex_lock(&ss->lock);
	while (!control->finished && error == 0)
		error = thread_cond_wait(&ss->changed, &ss->lock, deadline);
	error = control->finished ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&ss->lock);
	if (error < 0)
		return error;
	pthread_join(control->thread, NULL);
	invariant(control->socket.fd < 0);
	control->started = false;
	events_listen(ss->events, -1);
	return 0;
}

void control_before_fork(struct control *control)
{
	if (control != NULL)
		pthread_mutex_lock(&control->lock);
}

void control_after_fork_parent(struct control *control)
{
	if (control != NULL)
		pthread_mutex_unlock(&control->lock);
}

void control_after_fork_child(struct control *control)
{
	if (control == NULL)
		return;
	/* Only close(): an epoll_ctl() or an unlink() here would change the parent's. [P17] */
	close_if_open(&control->epoll_fd);
	close_if_open(&control->wake_fd);
	close_if_open(&control->socket.fd);
	clients_after_fork_child(&control->clients, control->busy);
	reset(control);
	pthread_mutex_unlock(&control->lock);
}
