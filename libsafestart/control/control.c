/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "socket.h"
#include "thread.h"
#include "why.h"

#define CLIENTS_MAX 32
#define BUFFERED_MAX (32 << 20) /* bytes of answers not yet sent; one more may be begun below that */
#define SECOND INT64_C(1000000000)
#define LATE_NS SECOND           /* who does not move for so long makes room for others */
#define LOOK_AGAIN_NS (30 * SECOND)
#define LOOK_AGAIN_LEAST_NS (SECOND / 100)
#define STEPS_A_TURN 4 /* of one client; then it is the next one's turn */

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
	struct client clients[CLIENTS_MAX + 1]; /* the last is for who comes when all others are taken */

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

	return reconcile == 0 ? LOOK_AGAIN_NS : reconcile > LOOK_AGAIN_LEAST_NS ? reconcile : LOOK_AGAIN_LEAST_NS;
}

static int listen_for(struct control *control, bool anew, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = READY_LISTEN};

	return epoll_ctl(control->epoll_fd, anew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, control->socket.fd, &event) < 0 ? -errno : 0;
}

static void make_socket(struct control *control)
{
	const struct settings *settings = handle_settings(control->ss);
	char why[512], words[640];

	int error = socket_make(&control->socket, settings->control, settings->name, &control->lock, why, sizeof(why));
	if (error == 0) {
		error = listen_for(control, true, EPOLLIN);
		if (error < 0) {
			why_say(why, sizeof(why), error, "no control socket in %.200s: it can't be watched: %s", settings->control, safestart_strerror(error));
			socket_remove(&control->socket, settings->control, &control->lock);
		}
	}
	if (error == 0) {
		control->failures = 0;
		why_say(words, sizeof(words), 0, "control socket %s/%s", settings->control, control->socket.name);
		leave_words(control, LOG_INFO, words);
		return;
	}
	control->failures++;
	why_say(words, sizeof(words), 0, "%s; until then the command safestart does not see this process, everything else works; tried again in %s", why,
		why_duration(look_again(control)).text);
	leave_words(control, (control->failures & (control->failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG, words);
}

/* It is made anew when somebody has removed it, and tried again when it could not be had. */
static void look_after_socket(struct control *control, int64_t now)
{
	const char *directory = handle_settings(control->ss)->control;

	if (now < control->look_at)
		return;
	if (control->socket.fd >= 0 && !socket_is_there(&control->socket, directory)) {
		socket_remove(&control->socket, directory, &control->lock);
		control->accept_at = 0;
	}
	if (control->socket.fd < 0)
		make_socket(control);
	control->look_at = loop_now() + look_again(control);
}

/* ---- Clients ---- */

static void drop(struct control *control, struct client *client)
{
	pthread_mutex_lock(&control->lock);
	close(client->fd); /* epoll forgets it */
	client->fd = -1;
	pthread_mutex_unlock(&control->lock);
	client_clear(client);
}

/* Of those that have not moved for too long, the one for the longest; of those with an answer in hand only, if that is the point. */
static struct client *find_late(struct control *control, bool answered, int64_t now)
{
	struct client *late = NULL;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];
		if (client->fd < 0 || (answered && client->out.length == 0) || client_idle_since(client) > now - LATE_NS)
			continue;
		if (late == NULL || client_idle_since(client) < client_idle_since(late))
			late = client;
	}
	return late;
}

static struct client *find_room(struct control *control)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (control->clients[i].fd < 0)
			return &control->clients[i];
	}
	return NULL;
}

static void refuse(struct control *control, struct client *client)
{
	verbs_error(&client->out, -EAGAIN, "32 are connected, and busy; try again");
	client->last = true;
	if (!client->out.failed)
		(void)client_step(control->ss, client, false, loop_now());
	drop(control, client);
}

/* Whoever is there waits at epoll from now on. */
static void greet(struct control *control, struct client *client, int64_t now)
{
	struct epoll_event event = {.events = 0, .data.u32 = (uint32_t)(client - control->clients)};
	struct ucred who = {.uid = (uid_t)-1};
	socklen_t size = sizeof(who);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		who.uid = (uid_t)-1; /* nobody, who may look */
	client->uid = who.uid;
	client->moved_at = now;
	client->readable = true;
	client->interested = 0;
	if (client == &control->clients[CLIENTS_MAX])
		refuse(control, client);
	else if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		drop(control, client);
}

/* One; false: there is nobody, or nothing to have them with. */
static bool accept_one(struct control *control, struct client *client, int64_t now)
{
	pthread_mutex_lock(&control->lock);
	client->fd = accept4(control->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = client->fd < 0 ? errno : 0;
	pthread_mutex_unlock(&control->lock);
	if (error == 0) {
		greet(control, client, now);
	} else if (error != EAGAIN && error != EINTR && error != ECONNABORTED) {
		(void)listen_for(control, false, 0); /* who waits stays readable, and must not spin us */
		control->accept_at = now + SECOND;
	}
	return error == 0 || error == EINTR || error == ECONNABORTED;
}

/* After everybody's turn: who has left has made room. Only if there is none even so, somebody has to go, or is refused. */
static void accept_some(struct control *control, int64_t now)
{
	struct client *client = find_room(control), *late = client == NULL ? find_late(control, false, now) : NULL;
	bool full = client == NULL && late == NULL;

	if (late != NULL)
		drop(control, late);
	for (int i = 0; i < CLIENTS_MAX; i++) {
		client = full ? &control->clients[CLIENTS_MAX] : find_room(control);
		if (client == NULL || !accept_one(control, client, now))
			return;
	}
}

static size_t buffered(const struct control *control)
{
	size_t bytes = 0;

	for (int i = 0; i < CLIENTS_MAX; i++)
		bytes += control->clients[i].out.room;
	return bytes;
}

/* Answers that nobody fetches must not keep others from theirs. */
static bool has_room(struct control *control, int64_t now)
{
	struct client *late;

	while (buffered(control) > BUFFERED_MAX && (late = find_late(control, true, now)) != NULL)
		drop(control, late);
	return buffered(control) <= BUFFERED_MAX;
}

static void tell_epoll(struct control *control, struct client *client)
{
	struct epoll_event event = {.events = client_interest(client), .data.u32 = (uint32_t)(client - control->clients)};

	/* One that hung up stays so, which must not spin us. */
	if (client->hung_up)
		epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	else if (event.events != client->interested && epoll_ctl(control->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0)
		client->interested = event.events;
}

/* Each client's turn. Returns when to look again; 0: at once. */
static int64_t take_turns(struct control *control, int64_t now)
{
	int64_t again = LOOP_NEVER;
	bool watched = false;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];
		enum client_next next = CLIENT_GOES_ON;
		bool room = true;
		for (int steps = 0; client->fd >= 0 && next == CLIENT_GOES_ON && (steps < STEPS_A_TURN || client->hung_up); steps++) {
			room = !client_is_asking(client) || has_room(control, now);
			next = client_step(control->ss, client, room, now);
		}
		if (client->fd < 0)
			continue;
		if (next == CLIENT_IS_OVER) {
			drop(control, client);
			continue;
		}
		tell_epoll(control, client);
		if (next == CLIENT_GOES_ON)
			again = 0;
		else if (!room && again > now + LATE_NS)
			again = now + LATE_NS;
		if (client->rest.kind == VERBS_WAIT && client->rest.deadline < again)
			again = client->rest.deadline;
		watched = watched || client->rest.kind != VERBS_NOTHING;
	}
	if (!watched)
		events_watch(control->ss->events, false);
	return again;
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

	if (event->data.u32 == READY_WAKE) {
		(void)!read(control->wake_fd, &count, sizeof(count));
	} else if (event->data.u32 == READY_LISTEN) {
		control->knocked = true;
	} else {
		struct client *client = &control->clients[event->data.u32];
		client->readable = true;
		client->hung_up = client->hung_up || (event->events & (EPOLLHUP | EPOLLERR)) != 0;
	}
}

static void sleep_and_hear(struct control *control, int64_t until)
{
	struct epoll_event events[CLIENTS_MAX + 2];

	set_busy(control, false);
	int count = epoll_wait(control->epoll_fd, events, CLIENTS_MAX + 2, until == 0 ? 0 : loop_ms_until(until));
	set_busy(control, true);
	int64_t now = loop_now();
	for (int i = 0; i < count; i++)
		hear(control, &events[i]);
	if (control->accept_at != 0 && control->accept_at <= now)
		control->accept_at = listen_for(control, false, EPOLLIN) == 0 ? 0 : now + SECOND;
}

static void say_goodbye(struct control *control)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (control->clients[i].fd < 0)
			continue;
		client_say_goodbye(control->ss, &control->clients[i]);
		drop(control, &control->clients[i]);
	}
	if (control->socket.fd >= 0)
		socket_remove(&control->socket, handle_settings(control->ss)->control, &control->lock);
}

static void *control_thread(void *argument)
{
	struct control *control = argument;
	struct safestart *ss = control->ss;

	set_busy(control, true);
	while (!atomic_load(&control->stop)) {
		look_after_socket(control, loop_now());
		int64_t until = take_turns(control, loop_now());
		if (control->knocked) {
			accept_some(control, loop_now());
			until = 0; /* their turn */
		}
		control->knocked = false;
		if (control->look_at < until)
			until = control->look_at;
		if (control->accept_at != 0 && control->accept_at < until)
			until = control->accept_at;
		sleep_and_hear(control, until);
	}
	say_goodbye(control);
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
	for (int i = 0; i <= CLIENTS_MAX; i++)
		control->clients[i] = (struct client){.fd = -1};
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
		return why_say(why, why_size, -ENOTDIR, "control=%.200s: not a directory; name the one that the control socket is to be in", directory);
	ss->events = events_new();
	ss->control = calloc(1, sizeof(*ss->control));
	if (ss->events == NULL || ss->control == NULL)
		return why_say(why, why_size, -ENOMEM, "out of memory");
	ss->control->ss = ss;
	pthread_mutex_init(&ss->control->lock, NULL);
	forget_all(ss->control);
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
	if (control->wake_fd < 0 || epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, control->wake_fd, &event) < 0)
		return -errno;
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
	request_wake(control->wake_fd);
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
	for (int i = 0; i <= CLIENTS_MAX; i++) {
		close_if_open(&control->clients[i].fd);
		if (!control->busy) /* else its memory is left where it is */
			client_clear(&control->clients[i]);
	}
	forget_all(control);
	pthread_mutex_unlock(&control->lock);
}
