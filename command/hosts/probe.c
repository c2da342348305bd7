/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* probe: threads of its own probe nodes; the main thread hands in addresses and reads results.
 * Everything they share is in struct prober, under its lock, which is not held during a probe. */
#include "hosts/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "hosts/processes.h"

/* Guarded by the prober's lock, except `address`, which never changes. */
struct target {
	char *address;
	struct probed probed;
	int64_t due; /* CLOCK_MONOTONIC; INT64_MAX: not again */
	bool busy;   /* a thread is probing it, and frees it if it is unwatched by then */
	bool unwatched;
};

struct prober {
	pthread_mutex_t lock;
	pthread_cond_t changed;  /* a target was added, or a probe ended */
	struct target **targets; /* by address */
	size_t count;
	int64_t interval, timeout;
	unsigned ended_count; /* number of probes that have ended */
	unsigned seed;
};

/* ---- One probe ---- */

/* "host:port", "[v6]:port". */
static bool split(const char *address, char *host, size_t host_size, char *port, size_t port_size)
{
	const char *colon = strrchr(address, ':');
	bool bracketed =
		address[0] == '[' && colon != NULL && colon > address + 1 && colon[-1] == ']';

	if (colon == NULL || colon == address)
		return false;
	snprintf(host, host_size, "%.*s", (int)(colon - address) - (bracketed ? 2 : 0),
		 address + bracketed);
	snprintf(port, port_size, "%s", colon + 1);
	return true;
}

/* Connects and closes at once; nothing is sent to the node. 0 or -errno. */
static int connect_to(const struct addrinfo *to, int64_t until)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
	socklen_t size = sizeof(error);
	int64_t left = (until - clock_now()) / 1000000;

	if (fd < 0)
		return -errno;
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
		struct pollfd polled = {.fd = fd, .events = POLLOUT};
		error = errno;
		if (error == EINPROGRESS && poll(&polled, 1, left > 0 ? (int)left + 1 : 0) <= 0)
			error = ETIMEDOUT;
		else if (error == EINPROGRESS &&
			 getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			error = errno;
	}
	close(fd);
	return -error;
}

/* The addresses of a name are tried one after the other, until one answers. */
static struct probed probe(const char *address, int64_t timeout)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct probed probed = {0};
	struct addrinfo *found = NULL;
	char host[256], port[16];
	int64_t until = clock_now() + timeout;
	int error = -EINVAL;

	int lookup = split(address, host, sizeof(host), port, sizeof(port))
			     ? getaddrinfo(host, port, &hints, &found)
			     : EAI_NONAME;
	for (const struct addrinfo *to = lookup == 0 ? found : NULL; to != NULL && error != 0;
	     to = to->ai_next)
		error = connect_to(to, until);
	if (lookup != 0)
		snprintf(probed.why, sizeof(probed.why), "%s", gai_strerror(lookup));
	else
		freeaddrinfo(found);
	if (lookup == 0 && error != 0)
		snprintf(probed.why, sizeof(probed.why), "%s", safestart_strerror(error));
	probed.answers = lookup == 0 && error == 0;
	return probed;
}

/* ---- The threads ---- */

static void free_target(struct target *target)
{
	free(target->address);
	free(target);
}

/* The target that is due next and not being probed; NULL: none. */
static struct target *next_locked(const struct prober *prober)
{
	struct target *next = NULL;

	for (size_t i = 0; i < prober->count; i++) {
		struct target *target = prober->targets[i];
		if (!target->busy && (next == NULL || target->due < next->due))
			next = target;
	}
	return next != NULL && next->due < INT64_MAX ? next : NULL;
}

/* Releases the lock while it waits, until a change or that time. */
static void wait_locked(struct prober *prober, int64_t until)
{
	struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};

	if (until < INT64_MAX)
		pthread_cond_timedwait(&prober->changed, &prober->lock, &at);
	else
		pthread_cond_wait(&prober->changed, &prober->lock);
}

/* The interval, at most a tenth shorter or longer. */
static int64_t jittered_locked(struct prober *prober, int64_t interval)
{
	return interval * 9 / 10 +
	       (int64_t)((double)interval / 5 * rand_r(&prober->seed) / RAND_MAX);
}

/* Takes the target that is due next, marks it busy, and probes it without the lock. */
static void *probe_thread(void *argument)
{
	struct prober *prober = argument;

	pthread_mutex_lock(&prober->lock);
	for (;;) {
		struct target *target = next_locked(prober);
		if (target == NULL || target->due > clock_now()) {
			wait_locked(prober, target != NULL ? target->due : INT64_MAX);
			continue;
		}
		target->busy = true;
		pthread_mutex_unlock(&prober->lock);
		struct probed probed = probe(target->address, prober->timeout);
		pthread_mutex_lock(&prober->lock);
		target->busy = false;
		probed.times = target->probed.times + 1;
		target->probed = probed;
		target->due = prober->interval > 0
				      ? clock_now() + jittered_locked(prober, prober->interval)
				      : INT64_MAX;
		prober->ended_count++;
		if (target->unwatched)
			free_target(target);
		pthread_cond_broadcast(&prober->changed);
	}
	return NULL;
}

/* The threads are detached and never joined: one may be in a name lookup, which cannot be
 * interrupted. */
struct prober *prober_start(unsigned at_a_time, int64_t interval, int64_t timeout)
{
	struct prober *prober = calloc(1, sizeof(*prober));
	pthread_condattr_t monotonic;
	pthread_attr_t attributes;
	unsigned started = 0;

	if (prober == NULL)
		return NULL;
	*prober = (struct prober){.lock = PTHREAD_MUTEX_INITIALIZER,
				  .interval = interval,
				  .timeout = timeout,
				  .seed = (unsigned)(clock_now() ^ getpid())};
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&prober->changed, &monotonic);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	int error = 0;
	for (pthread_t thread; started < at_a_time && error == 0;) {
		error = pthread_create(&thread, &attributes, probe_thread, prober);
		started += error == 0;
	}
	pthread_attr_destroy(&attributes);
	if (started > 0)
		return prober;
	free(prober);
	errno = error;
	return NULL;
}

/* ---- The set of targets ---- */

static int compare_targets(const void *a, const void *b)
{
	return strcmp((*(struct target *const *)a)->address, (*(struct target *const *)b)->address);
}

/* Binary search: the targets are sorted by address. */
static struct target *find_locked(const struct prober *prober, const char *address)
{
	struct target key = {.address = (char *)address}, *wanted = &key;
	struct target **found = prober->count > 0
					? bsearch(&wanted, prober->targets, prober->count,
						  sizeof(struct target *), compare_targets)
					: NULL;

	return found != NULL ? *found : NULL;
}

/* The existing target, or a new one that is due at a random time within the interval. NULL: no
 * memory. */
static struct target *target_locked(struct prober *prober, const char *address)
{
	struct target *target = find_locked(prober, address);

	if (target != NULL)
		return target;
	target = calloc(1, sizeof(*target));
	if (target == NULL || (target->address = strdup(address)) == NULL) {
		free(target);
		return NULL;
	}
	target->due = clock_now() +
		      (int64_t)((double)prober->interval * rand_r(&prober->seed) / RAND_MAX);
	return target;
}

/* All of the targets; false: no memory, and the new ones are freed again. */
static bool collect_locked(struct prober *prober, const char *const *addresses, size_t count,
			   struct target **targets)
{
	for (size_t i = 0; i < count; i++) {
		targets[i] = target_locked(prober, addresses[i]);
		if (targets[i] != NULL)
			continue;
		while (i-- > 0) {
			if (find_locked(prober, targets[i]->address) != targets[i])
				free_target(targets[i]);
		}
		return false;
	}
	return true;
}

/* Frees targets that are not among the new ones; a thread that is probing one frees it itself. */
static void drop_locked(struct prober *prober, struct target *const *targets, size_t count)
{
	for (size_t i = 0; i < prober->count; i++)
		prober->targets[i]->unwatched = true;
	for (size_t i = 0; i < count; i++)
		targets[i]->unwatched = false;
	for (size_t i = 0; i < prober->count; i++) {
		if (prober->targets[i]->unwatched && !prober->targets[i]->busy)
			free_target(prober->targets[i]);
	}
	free(prober->targets);
}

bool prober_watch(struct prober *prober, const char *const *addresses, size_t count)
{
	struct target **targets = calloc(count + 1, sizeof(struct target *));

	pthread_mutex_lock(&prober->lock);
	bool ok = targets != NULL && collect_locked(prober, addresses, count, targets);
	if (ok) {
		drop_locked(prober, targets, count);
		qsort(targets, count, sizeof(struct target *), compare_targets);
		prober->targets = targets;
		prober->count = 0;
		/* An address that was given twice may have been created twice. */
		for (size_t i = 0; i < count; i++) {
			if (prober->count > 0 &&
			    strcmp(targets[prober->count - 1]->address, targets[i]->address) == 0) {
				if (targets[prober->count - 1] != targets[i])
					free_target(targets[i]);
				continue;
			}
			targets[prober->count++] = targets[i];
		}
		pthread_cond_broadcast(&prober->changed);
	}
	pthread_mutex_unlock(&prober->lock);
	if (!ok)
		free(targets);
	return ok;
}

void prober_result(struct prober *prober, const char *address, struct probed *probed)
{
	memset(probed, 0, sizeof(*probed));
	pthread_mutex_lock(&prober->lock);
	const struct target *target = find_locked(prober, address);
	if (target != NULL)
		*probed = target->probed;
	pthread_mutex_unlock(&prober->lock);
}

bool prober_wait(struct prober *prober, int64_t until)
{
	bool all = true;

	pthread_mutex_lock(&prober->lock);
	for (unsigned ended_count = prober->ended_count;
	     prober->ended_count == ended_count && clock_now() < until;)
		wait_locked(prober, until);
	for (size_t i = 0; i < prober->count; i++)
		all &= prober->targets[i]->probed.times > 0;
	pthread_mutex_unlock(&prober->lock);
	return all;
}
