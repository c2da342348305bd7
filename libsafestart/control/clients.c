/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/clients.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFERED_MAX \
	(32 << 20) /* bytes of answers not yet sent; one more may be begun below that */
#define LATE_NS INT64_C(1000000000) /* who does not move for so long makes room for others */
#define STEPS_A_TURN 4              /* of one client; then it is the next one's turn */

static void drop(struct clients *clients, struct client *client)
{
	/* Said, not left to close(): a child that is just being forked has it as well, and what
	 * epoll hears of it would be taken for the next one's who is here. */
	epoll_ctl(clients->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	pthread_mutex_lock(clients->lock);
	close(client->fd);
	client->fd = -1;
	pthread_mutex_unlock(clients->lock);
	client_clear(client);
}

/* Of those that have not moved for too long, the one for the longest; of those with an answer in
 * hand only, if that is the point. */
static struct client *find_late(struct clients *clients, bool answered, int64_t now)
{
	struct client *late = NULL;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->clients[i];
		if (client->fd < 0 || (answered && client->out.length == 0) ||
		    client_idle_since(client) > now - LATE_NS)
			continue;
		if (late == NULL || client_idle_since(client) < client_idle_since(late))
			late = client;
	}
	return late;
}

static struct client *find_room(struct clients *clients)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (clients->clients[i].fd < 0)
			return &clients->clients[i];
	}
	return NULL;
}

static void refuse(struct clients *clients, struct client *client)
{
	response_error(&client->out, -EAGAIN, "32 are connected, and busy; try again");
	client->last = true;
	if (!client->out.failed)
		(void)client_step(clients->ss, client, false, loop_now());
	drop(clients, client);
}

/* Whoever is there waits at epoll from now on. */
static void greet(struct clients *clients, struct client *client, int64_t now)
{
	struct epoll_event event = {.events = 0, .data.u32 = (uint32_t)(client - clients->clients)};
	struct ucred who = {.uid = (uid_t)-1};
	socklen_t size = sizeof(who);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		who.uid = (uid_t)-1; /* nobody, who may look */
	client->uid = who.uid;
	client->moved_at = now;
	client->readable = true;
	client->epoll_events = 0;
	if (client == &clients->clients[CLIENTS_MAX])
		refuse(clients, client);
	else if (epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		drop(clients, client);
}

/* One. 1; 0: there is nobody; -errno. */
static int accept_one(struct clients *clients, struct client *client, int listen_fd, int64_t now)
{
	pthread_mutex_lock(clients->lock);
	client->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = client->fd < 0 ? errno : 0;
	pthread_mutex_unlock(clients->lock);
	if (error == 0)
		greet(clients, client, now);
	if (error == 0 || error == EINTR || error == ECONNABORTED)
		return 1;
	return error == EAGAIN ? 0 : -error;
}

int clients_accept(struct clients *clients, int listen_fd, int64_t now)
{
	struct client *client = find_room(clients),
		      *late = client == NULL ? find_late(clients, false, now) : NULL;
	bool full = client == NULL && late == NULL;
	int result = 1;

	if (late != NULL)
		drop(clients, late);
	for (int i = 0; i < CLIENTS_MAX && result > 0; i++) {
		client = full ? &clients->clients[CLIENTS_MAX] : find_room(clients);
		result = client != NULL ? accept_one(clients, client, listen_fd, now) : 0;
	}
	return result < 0 ? result : 0;
}

static size_t buffered(const struct clients *clients)
{
	size_t bytes = 0;

	for (int i = 0; i < CLIENTS_MAX; i++)
		bytes += clients->clients[i].out.room;
	return bytes;
}

/* Answers that nobody fetches must not keep others from theirs. */
static bool has_room(struct clients *clients, int64_t now)
{
	struct client *late;

	while (buffered(clients) > BUFFERED_MAX && (late = find_late(clients, true, now)) != NULL)
		drop(clients, late);
	return buffered(clients) <= BUFFERED_MAX;
}

static void tell_epoll(struct clients *clients, struct client *client)
{
	struct epoll_event event = {.events = client_interest(client),
				    .data.u32 = (uint32_t)(client - clients->clients)};

	if (event.events != client->epoll_events &&
	    epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0)
		client->epoll_events = event.events;
}

int64_t clients_serve(struct clients *clients, int64_t now)
{
	int64_t again = LOOP_NEVER;
	bool watched = false;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->clients[i];
		enum client_next next = CLIENT_CONTINUE;
		bool room = true;
		for (int steps = 0;
		     client->fd >= 0 && next == CLIENT_CONTINUE && steps < STEPS_A_TURN; steps++) {
			room = !client_has_request(client) || has_room(clients, now);
			next = client_step(clients->ss, client, room, now);
		}
		if (client->fd < 0)
			continue;
		if (next == CLIENT_CLOSE) {
			drop(clients, client);
			continue;
		}
		tell_epoll(clients, client);
		if (next == CLIENT_CONTINUE)
			again = 0;
		else if (!room && again > now + LATE_NS)
			again = now + LATE_NS;
		if (client->pending.kind == RESPONSE_WAIT && client->pending.deadline < again)
			again = client->pending.deadline;
		watched = watched || client->pending.kind != RESPONSE_COMPLETE;
	}
	if (!watched)
		events_watch(clients->ss->events, false);
	return again;
}

void clients_event(struct clients *clients, uint32_t index, uint32_t events)
{
	struct client *client = &clients->clients[index];

	client->readable = true;
	client->hung_up = client->hung_up || (events & (EPOLLHUP | EPOLLERR)) != 0;
}

void clients_finish(struct clients *clients)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (clients->clients[i].fd < 0)
			continue;
		client_finish(clients->ss, &clients->clients[i]);
		drop(clients, &clients->clients[i]);
	}
}

void clients_init(struct clients *clients, struct safestart *ss, pthread_mutex_t *lock)
{
	*clients = (struct clients){.ss = ss, .lock = lock, .epoll_fd = -1};
	for (int i = 0; i <= CLIENTS_MAX; i++)
		clients->clients[i].fd = -1;
}

void clients_after_fork_child(struct clients *clients, bool torn)
{
	for (int i = 0; i <= CLIENTS_MAX; i++) {
		if (clients->clients[i].fd >= 0)
			close(clients->clients[i].fd);
		if (!torn)
			client_clear(&clients->clients[i]);
	}
	clients_init(clients, clients->ss, clients->lock);
}
