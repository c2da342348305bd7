/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/clients.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFERED_MAX (32 << 20) /* bytes of answers not yet sent; one more may be begun below that */
#define LATE_NS INT64_C(1000000000) /* who does not move for so long makes room for others */
#define STEPS_A_TURN 4          /* of one client; then it is the next one's turn */

static void drop(struct crowd *crowd, struct client *client)
{
	/* Said, not left to close(): a child that is just being forked has it as well, and what epoll hears of it would be taken for the next
	 * one's who is here. */
	epoll_ctl(crowd->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	pthread_mutex_lock(crowd->lock);
	close(client->fd);
	client->fd = -1;
	pthread_mutex_unlock(crowd->lock);
	client_clear(client);
}

/* Of those that have not moved for too long, the one for the longest; of those with an answer in hand only, if that is the point. */
static struct client *find_late(struct crowd *crowd, bool answered, int64_t now)
{
	struct client *late = NULL;

	for (int i = 0; i < CROWD_MAX; i++) {
		struct client *client = &crowd->clients[i];
		if (client->fd < 0 || (answered && client->out.length == 0) || client_idle_since(client) > now - LATE_NS)
			continue;
		if (late == NULL || client_idle_since(client) < client_idle_since(late))
			late = client;
	}
	return late;
}

static struct client *find_room(struct crowd *crowd)
{
	for (int i = 0; i < CROWD_MAX; i++) {
		if (crowd->clients[i].fd < 0)
			return &crowd->clients[i];
	}
	return NULL;
}

static void refuse(struct crowd *crowd, struct client *client)
{
	verbs_error(&client->out, -EAGAIN, "32 are connected, and busy; try again");
	client->last = true;
	if (!client->out.failed)
		(void)client_step(crowd->ss, client, false, loop_now());
	drop(crowd, client);
}

/* Whoever is there waits at epoll from now on. */
static void greet(struct crowd *crowd, struct client *client, int64_t now)
{
	struct epoll_event event = {.events = 0, .data.u32 = (uint32_t)(client - crowd->clients)};
	struct ucred who = {.uid = (uid_t)-1};
	socklen_t size = sizeof(who);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		who.uid = (uid_t)-1; /* nobody, who may look */
	client->uid = who.uid;
	client->moved_at = now;
	client->readable = true;
	client->interested = 0;
	if (client == &crowd->clients[CROWD_MAX])
		refuse(crowd, client);
	else if (epoll_ctl(crowd->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
		drop(crowd, client);
}

/* One. 1; 0: there is nobody; -errno. */
static int accept_one(struct crowd *crowd, struct client *client, int listen_fd, int64_t now)
{
	pthread_mutex_lock(crowd->lock);
	client->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int error = client->fd < 0 ? errno : 0;
	pthread_mutex_unlock(crowd->lock);
	if (error == 0)
		greet(crowd, client, now);
	if (error == 0 || error == EINTR || error == ECONNABORTED)
		return 1;
	return error == EAGAIN ? 0 : -error;
}

int crowd_accept(struct crowd *crowd, int listen_fd, int64_t now)
{
	struct client *client = find_room(crowd), *late = client == NULL ? find_late(crowd, false, now) : NULL;
	bool full = client == NULL && late == NULL;
	int result = 1;

	if (late != NULL)
		drop(crowd, late);
	for (int i = 0; i < CROWD_MAX && result > 0; i++) {
		client = full ? &crowd->clients[CROWD_MAX] : find_room(crowd);
		result = client != NULL ? accept_one(crowd, client, listen_fd, now) : 0;
	}
	return result < 0 ? result : 0;
}

static size_t buffered(const struct crowd *crowd)
{
	size_t bytes = 0;

	for (int i = 0; i < CROWD_MAX; i++)
		bytes += crowd->clients[i].out.room;
	return bytes;
}

/* Answers that nobody fetches must not keep others from theirs. */
static bool has_room(struct crowd *crowd, int64_t now)
{
	struct client *late;

	while (buffered(crowd) > BUFFERED_MAX && (late = find_late(crowd, true, now)) != NULL)
		drop(crowd, late);
	return buffered(crowd) <= BUFFERED_MAX;
}

static void tell_epoll(struct crowd *crowd, struct client *client)
{
	struct epoll_event event = {.events = client_interest(client), .data.u32 = (uint32_t)(client - crowd->clients)};

	if (event.events != client->interested && epoll_ctl(crowd->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0)
		client->interested = event.events;
}

int64_t crowd_take_turns(struct crowd *crowd, int64_t now)
{
	int64_t again = LOOP_NEVER;
	bool watched = false;

	for (int i = 0; i < CROWD_MAX; i++) {
		struct client *client = &crowd->clients[i];
		enum client_next next = CLIENT_GOES_ON;
		bool room = true;
		for (int steps = 0; client->fd >= 0 && next == CLIENT_GOES_ON && steps < STEPS_A_TURN; steps++) {
			room = !client_is_asking(client) || has_room(crowd, now);
			next = client_step(crowd->ss, client, room, now);
		}
		if (client->fd < 0)
			continue;
		if (next == CLIENT_IS_OVER) {
			drop(crowd, client);
			continue;
		}
		tell_epoll(crowd, client);
		if (next == CLIENT_GOES_ON)
			again = 0;
		else if (!room && again > now + LATE_NS)
			again = now + LATE_NS;
		if (client->rest.kind == VERBS_WAIT && client->rest.deadline < again)
			again = client->rest.deadline;
		watched = watched || client->rest.kind != VERBS_NOTHING;
	}
	if (!watched)
		events_watch(crowd->ss->events, false);
	return again;
}

void crowd_hear(struct crowd *crowd, uint32_t index, uint32_t events)
{
	struct client *client = &crowd->clients[index];

	client->readable = true;
	client->hung_up = client->hung_up || (events & (EPOLLHUP | EPOLLERR)) != 0;
}

void crowd_say_goodbye(struct crowd *crowd)
{
	for (int i = 0; i < CROWD_MAX; i++) {
		if (crowd->clients[i].fd < 0)
			continue;
		client_say_goodbye(crowd->ss, &crowd->clients[i]);
		drop(crowd, &crowd->clients[i]);
	}
}

void crowd_init(struct crowd *crowd, struct safestart *ss, pthread_mutex_t *lock)
{
	*crowd = (struct crowd){.ss = ss, .lock = lock, .epoll_fd = -1};
	for (int i = 0; i <= CROWD_MAX; i++)
		crowd->clients[i].fd = -1;
}

void crowd_after_fork_child(struct crowd *crowd, bool torn)
{
	for (int i = 0; i <= CROWD_MAX; i++) {
		if (crowd->clients[i].fd >= 0)
			close(crowd->clients[i].fd);
		if (!torn)
			client_clear(&crowd->clients[i]);
	}
	crowd_init(crowd, crowd->ss, crowd->lock);
}
