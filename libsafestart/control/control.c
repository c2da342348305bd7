/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/message.h"
#include "base/thread.h"
#include "control/clients.h"
#include "control/socket.h"

#define SECOND INT64_C(1000000000)
#define LOOK_AGAIN_NS (30 * SECOND)
#define LOOK_AGAIN_LEAST_NS (SECOND / 100)

/* What epoll says is ready: a client by its index, or one of these. */
enum ready {
	READY_WAKE = CLIENTS_MAX,
	READY_LISTEN
};

struct control {
	struct safestart *ss;
	_Atomic bool stop;
	pthread_t thread;

	pthread_mutex_t lock; /* guards which descriptors there are, and these */
	bool started;
	bool busy; /* the thread is not asleep: what it works on may be in the middle of a change */
	int epoll_fd;
	int wake_fd;
	struct control_socket socket;
	struct clients clients; /* its descriptors */

	bool left; /* the thread is about to end. Guarded by the handle's lock */

	/* The thread's. */
	int64_t look_at;   /* when the socket is looked after */
	uint32_t failures; /* times in a row that it could not be made */
	bool knocked;      /* somebody wants to be accepted */
	int64_t accept_at; /* there were no descriptors for clients: accepted again then; 0: now */
};

/* ---- The socket ---- */

static void leave_words(struct control *control, int level, const char *words)
{
	events_leave_words(control->ss->events, level, words);
	handle_wake(control->ss);
}

static int64_t look_again(const struct control *control)
{
	int64_t reconcile = handle_settings(control->ss)->reconcile;

	/* A source that seldom has to be read anew says nothing about a directory. */
	if (reconcile == 0 || reconcile > LOOK_AGAIN_NS)
		return LOOK_AGAIN_NS;
	return reconcile > LOOK_AGAIN_LEAST_NS ? reconcile : LOOK_AGAIN_LEAST_NS;
}

static int listen_for(struct control *control, bool anew, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = READY_LISTEN};

	return epoll_ctl(control->epoll_fd, anew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
			 control->socket.fd, &event) < 0
		       ? -errno
		       : 0;
}

static void remove_socket(struct control *control)
{
	/* As for a client that goes. */
	epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, control->socket.fd, NULL);
	socket_remove(&control->socket, handle_settings(control->ss)->control, &control->lock);
	control->accept_at = 0;
}

static void make_socket(struct control *control)
{
	const struct settings *settings = handle_settings(control->ss);
	char why[512], words[640];

	int error = socket_make(&control->socket, settings->control, settings->name, &control->lock,
				why, sizeof(why));
	if (error == 0) {
		error = listen_for(control, true, EPOLLIN);
		if (error < 0) {
			message_set(why, sizeof(why), error,
				    "no control socket in %.200s: it can't be watched: %s",
				    settings->control, safestart_strerror(error));
			remove_socket(control);
		}
	}
	if (error == 0) {
		control->failures = 0;
		message_set(words, sizeof(words), 0, "control socket %s/%s", settings->control,
			    control->socket.name);
		leave_words(control, LOG_INFO, words);
		return;
	}
	control->failures++;
	message_set(words, sizeof(words), 0,
		    "%s; until then the command safestart does not see this process, everything "
		    "else works; tried again in %s",
		    why, message_duration(look_again(control)).text);
	leave_words(control,
		    (control->failures & (control->failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG,
		    words);
}

/* It is made anew when somebody has removed it, and tried again when it could not be had. */
static void look_after_socket(struct control *control, int64_t now)
{
	const char *directory = handle_settings(control->ss)->control;

	if (now < control->look_at)
		return;
	if (control->socket.fd >= 0 && !socket_is_there(&control->socket, directory))
		remove_socket(control);
	if (control->socket.fd < 0)
		make_socket(control);
	control->look_at = loop_now() + look_again(control);
}

/* ---- The thread ---- */

static void set_busy(struct control *control, bool busy)
{
	pthread_mutex_lock(&control->lock);
	control->busy = busy;
	pthread_mutex_unlock(&control->lock);
}

static void hear(struct control *control, const struct epoll_event *event)
{
	uint64_t count;

	if (event->data.u32 == READY_WAKE)
		(void)!read(control->wake_fd, &count, sizeof(count));
	else if (event->data.u32 == READY_LISTEN)
		control->knocked = true;
	else
		clients_event(&control->clients, event->data.u32, event->events);
}

static void sleep_and_hear(struct control *control, int64_t until)
{
	struct epoll_event events[CLIENTS_MAX + 2];

	set_busy(control, false);
	int count = epoll_wait(control->epoll_fd, events, CLIENTS_MAX + 2,
			       until == 0 ? 0 : loop_ms_until(until));
	set_busy(control, true);
	int64_t now = loop_now();
	for (int i = 0; i < count; i++)
		hear(control, &events[i]);
	if (control->accept_at != 0 && control->accept_at <= now)
		control->accept_at = listen_for(control, false, EPOLLIN) == 0 ? 0 : now + SECOND;
}

/* Who knocked. */
static void open_the_door(struct control *control, int64_t now)
{
	control->knocked = false;
	if (clients_accept(&control->clients, control->socket.fd, now) == 0)
		return;
	(void)listen_for(control, false, 0); /* who waits stays readable, and must not spin us */
	control->accept_at = now + SECOND;
}

static void *control_thread(void *argument)
{
	struct control *control = argument;
	struct safestart *ss = control->ss;

	set_busy(control, true);
	while (!atomic_load(&control->stop)) {
		look_after_socket(control, loop_now());
		int64_t until = clients_serve(&control->clients, loop_now());
		if (control->knocked) {
			open_the_door(control, loop_now());
			until = 0; /* their turn */
		}
		if (control->look_at < until)
			until = control->look_at;
		if (control->accept_at != 0 && control->accept_at < until)
			until = control->accept_at;
		sleep_and_hear(control, until);
	}
	clients_finish(&control->clients);
	if (control->socket.fd >= 0)
		remove_socket(control);
	pthread_mutex_lock(&ss->lock);
	control->left = true;
	pthread_cond_broadcast(&ss->changed);
	pthread_mutex_unlock(&ss->lock);
	return NULL;
}

/* ---- For the handle ---- */

static void forget_all(struct control *control)
{
	control->started = control->busy = control->left = false;
	atomic_store(&control->stop, false);
	control->epoll_fd = control->wake_fd = control->socket.fd = -1;
	control->look_at = control->accept_at = 0;
	control->failures = 0;
	control->knocked = false;
}

int control_init(struct safestart *ss, char *why, size_t why_size)
{
	const char *directory = handle_settings(ss)->control;
	struct stat status;

	if (directory == NULL)
		return 0;
	if (stat(directory, &status) == 0 && !S_ISDIR(status.st_mode))
		return message_set(why, why_size, -ENOTDIR,
				   "control=%.200s: not a directory; name the one that the control "
				   "socket is to be in",
				   directory);
	ss->control = calloc(1, sizeof(*ss->control));
	if (ss->control == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	ss->control->ss = ss;
	pthread_mutex_init(&ss->control->lock, NULL);
	forget_all(ss->control);
	clients_init(&ss->control->clients, ss, &ss->control->lock);
	ss->events = events_new();
	return ss->events != NULL ? 0 : message_set(why, why_size, -ENOMEM, "out of memory");
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
		close_if_open(&control->epoll_fd);
		close_if_open(&control->wake_fd);
		pthread_mutex_destroy(&control->lock);
		free(control);
	}
	events_free(ss->events);
}

static int start_locked(struct control *control)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = READY_WAKE};

	if (control->epoll_fd < 0)
		control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (control->epoll_fd >= 0 && control->wake_fd < 0)
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
	pthread_mutex_unlock(&control->lock);
	return error;
}

int control_stop(struct safestart *ss, int64_t deadline)
{
	struct control *control = ss->control;
	int error = 0;

	if (control == NULL || !control->started)
		return 0;
	atomic_store(&control->stop, true);
	loop_wake(control->wake_fd);
	pthread_mutex_lock(&ss->lock);
	while (!control->left && error == 0)
		error = thread_cond_wait(&ss->changed, &ss->lock, deadline);
	error = control->left ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&ss->lock);
	if (error < 0)
		return error;
	pthread_join(control->thread, NULL);
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
	close_if_open(&control->epoll_fd);
	close_if_open(&control->wake_fd);
	close_if_open(&control->socket.fd);
	clients_after_fork_child(&control->clients, control->busy);
	forget_all(control);
	pthread_mutex_unlock(&control->lock);
}
