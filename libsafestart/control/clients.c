/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clients: at most 32 connections, each in turn for a few steps, so that no client keeps the others
 * from theirs. Control thread. Memory for responses is limited for all of them together. [P16]
 * [P19] */
#include "control/clients.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/invariant.h"

/* Bytes of responses that have not been sent. Below the limit one more may be begun, whatever its
 * size, so that a large response is always possible. */
#define BUFFERED_MAX (32 << 20)
#define IDLE_NS INT64_C(1000000000) /* a client idle for this long gives way to others */
#define STEPS_PER_TURN 4            /* of one client; then it is the next one's turn */

static bool is_free(const struct client *client)
{
	return client->fd < 0 && client->in == NULL && client->out.text == NULL &&
	       client->pending.kind == RESPONSE_COMPLETE;
}

/* What holds between calls: a slot without a descriptor holds no memory, no descriptor is in two
 * slots, and the slot for refusing is free. */
static bool is_consistent(const struct clients *clients)
{
	if (clients->epoll_fd < 0 || !is_free(&clients->clients[CLIENTS_MAX]))
		return false;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		const struct client *client = &clients->clients[i];
		if (client->fd < 0 && !is_free(client))
			return false;
		for (int j = 0; client->fd >= 0 && j < i; j++) {
			if (clients->clients[j].fd == client->fd)
				return false;
		}
	}
	return true;
}

static void disconnect(struct clients *clients, struct client *client)
{
	/* Not left to close(): a child that is being forked now has the connection as well, so that
	 * epoll would still report it, as an event of the next client in this slot. [P17] */
	invariant(client->fd >= 0);
	epoll_ctl(clients->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	pthread_mutex_lock(clients->lock);
	close(client->fd);
	client->fd = -1;
	pthread_mutex_unlock(clients->lock);
	client_clear(client);
	invariant(is_free(client));
}

/* The client that has been idle for the longest, at least IDLE_NS; NULL: none. With `unread` only
 * among those that have a response to read. */
static struct client *find_idle(struct clients *clients, bool unread, int64_t now)
{
	struct client *idle = NULL;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->clients[i];
		if (client->fd < 0 || (unread && client->out.length == 0) ||
		    client_idle_since(client) > now - IDLE_NS)
			continue;
		if (idle == NULL || client_idle_since(client) < client_idle_since(idle))
			idle = client;
	}
	return idle;
}

static struct client *find_free_slot(struct clients *clients)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (clients->clients[i].fd < 0)
			return &clients->clients[i];
	}
	return NULL;
}

/* Best effort: the error is sent if the socket takes it at once, then the connection is closed. */
static void refuse(struct clients *clients, struct client *client)
{
	response_error(&client->out, -EAGAIN,
		       "all 32 connections of this process are in use; try again");
	client->last = true;
	if (!client->out.failed)
		(void)client_step(clients->ss, client, false, loop_now());
	disconnect(clients, client);
}

/* Set up a new connection: its user is looked up, epoll watches it. In the last slot it is refused.
 */
static void add_client(struct clients *clients, struct client *client, int64_t now)
{
	struct epoll_event event = {.events = 0, .data.u32 = (uint32_t)(client - clients->clients)};
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		peer.uid = (uid_t)-1; /* may read, not request a run */
	client->uid = peer.uid;
	client->moved_at = now;
	client->readable = true; /* its first line may have come with the connection */
	client->epoll_events = 0;
	if (client == &clients->clients[CLIENTS_MAX])
		refuse(clients, client);
	else if (epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		disconnect(clients, client);
}

/* Accept one client into a free slot. 1; 0: no client waits; -errno. */
static int accept_one(struct clients *clients, struct client *client, int listen_fd, int64_t now)
{
	invariant(is_free(client));
	pthread_mutex_lock(clients->lock);
	client->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = client->fd < 0 ? errno : 0;
	pthread_mutex_unlock(clients->lock);
	if (error == 0)
		add_client(clients, client, now);
	if (error == 0 || error == EINTR || error == ECONNABORTED) /* the next one may be there */
		return 1;
	return error == EAGAIN ? 0 : -error;
}

int clients_accept(struct clients *clients, int listen_fd, int64_t now)
{
	struct client *client = find_free_slot(clients),
		      *idle = client == NULL ? find_idle(clients, false, now) : NULL;
	bool full = client == NULL && idle == NULL;
	int result = 1;

	/* One place is enough: more clients wait for the next call, or are refused in it. */
	if (idle != NULL)
		disconnect(clients, idle);
	for (int i = 0; i < CLIENTS_MAX && result > 0; i++) {
		client = full ? &clients->clients[CLIENTS_MAX] : find_free_slot(clients);
		result = client != NULL ? accept_one(clients, client, listen_fd, now) : 0;
	}
	invariant(is_consistent(clients));
	return result < 0 ? result : 0;
}

/* Memory of all responses that are not sent yet. */
static size_t buffered(const struct clients *clients)
{
	size_t bytes = 0;

	for (int i = 0; i < CLIENTS_MAX; i++)
		bytes += clients->clients[i].out.room;
	return bytes;
}

/* May another response be begun? Responses that nobody reads must not keep others from theirs:
 * their clients are disconnected, the longest idle first. */
static bool make_room(struct clients *clients, int64_t now)
{
	struct client *idle;

	while (buffered(clients) > BUFFERED_MAX && (idle = find_idle(clients, true, now)) != NULL)
		disconnect(clients, idle);
	return buffered(clients) <= BUFFERED_MAX;
}

/* If epoll refuses, it is tried again at the next turn. */
static void update_interest(struct clients *clients, struct client *client)
{
	struct epoll_event event = {.events = client_interest(client),
				    .data.u32 = (uint32_t)(client - clients->clients)};

	if (event.events != client->epoll_events &&
	    epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0)
		client->epoll_events = event.events;
}

/* One client's turn: a few steps. Returns what the last step said; *room is false when it was kept
 * from a response when memory runs out. */
static enum client_next take_turn(struct clients *clients, struct client *client, bool *room,
				  int64_t now)
{
	enum client_next next = CLIENT_CONTINUE;

	for (int steps = 0; client->fd >= 0 && next == CLIENT_CONTINUE && steps < STEPS_PER_TURN;
	     steps++) {
		/* Disconnects others only: this one has no response to be read. */
		*room = !client_has_request(client) || make_room(clients, now);
		next = client_step(clients->ss, client, *room, now);
	}
	return next;
}

int64_t clients_serve(struct clients *clients, int64_t now)
{
	int64_t again = LOOP_NEVER;
	bool watched = false;

	invariant(is_consistent(clients));
	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->clients[i];
		bool room = true;
		enum client_next next = take_turn(clients, client, &room, now);
		if (client->fd < 0)
			continue;
		if (next == CLIENT_CLOSE) {
			disconnect(clients, client);
			continue;
		}
		update_interest(clients, client);
		if (next == CLIENT_CONTINUE)
			again = 0;
		else if (!room && again > now + IDLE_NS) /* by then another one may be idle */
			again = now + IDLE_NS;
		if (client->pending.kind == RESPONSE_WAIT && client->pending.deadline < again)
			again = client->pending.deadline;
		watched = watched || client->pending.kind != RESPONSE_COMPLETE;
	}
	if (!watched) /* events need not wake this thread any more */
		events_watch(clients->ss->events, false);
	invariant(is_consistent(clients));
	return again;
}

/* EPOLLHUP and EPOLLERR are reported whether asked for or not. Input is still received after them.
 */
void clients_event(struct clients *clients, uint32_t index, uint32_t events)
{
	struct client *client = &clients->clients[index];

	invariant(index < CLIENTS_MAX && client->fd >= 0); /* epoll has no others */
	client->readable = true;
	client->hung_up = client->hung_up || (events & (EPOLLHUP | EPOLLERR)) != 0;
}

void clients_finish(struct clients *clients)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (clients->clients[i].fd < 0)
			continue;
		client_finish(clients->ss, &clients->clients[i]);
		disconnect(clients, &clients->clients[i]);
	}
	invariant(is_consistent(clients));
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
