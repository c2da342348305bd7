/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* readers: they hold generations: slow readers that come and go, one that owns, one that borrows
 * for too long. */
#include "host.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define READERS_MAX 64

static struct {
	pthread_mutex_t lock;
	pthread_t threads[READERS_MAX];   /* guarded by lock */
	int count;                        /* guarded by lock */
	struct safestart_snapshot *owned; /* guarded by lock */
	_Atomic int ms;
	_Atomic unsigned long reads;
	_Atomic int borrowing;
	_Atomic bool stopping;
} readers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void use(const struct safestart_snapshot *snapshot)
{
	const struct safestart_node *node;

	for (size_t i = 0; (node = safestart_snapshot_at(snapshot, i)) != NULL; i++)
		atomic_fetch_add(&((struct data *)safestart_node_data(node))->uses, 1);
}

/* Owns a generation for a while, again and again, with a borrow in between. */
static void *read_slowly(void *unused)
{
	(void)unused;
	while (!atomic_load(&readers.stopping)) {
		struct safestart_snapshot *owned = safestart_snapshot_acquire(handle);

		pause_ms(atomic_load(&readers.ms));
		use(owned);
		safestart_snapshot_release(owned);
		use(safestart_read_lock(handle));
		safestart_read_unlock(handle);
		atomic_fetch_add(&readers.reads, 1);
	}
	return NULL;
}

void readers_start(FILE *to, char *argument)
{
	int count = 0, ms = 1;

	sscanf(argument, "%d %d", &count, &ms);
	atomic_store(&readers.ms, ms);
	pthread_mutex_lock(&readers.lock);
	while (readers.count < count && readers.count < READERS_MAX &&
	       pthread_create(&readers.threads[readers.count], NULL, read_slowly, NULL) == 0)
		readers.count++;
	fprintf(to, "%d\n", readers.count);
	pthread_mutex_unlock(&readers.lock);
}

unsigned long readers_reads(void)
{
	return atomic_load(&readers.reads);
}

int readers_borrowing(void)
{
	return atomic_load(&readers.borrowing);
}

void readers_own(FILE *to, char *argument)
{
	(void)argument;
	pthread_mutex_lock(&readers.lock);
	if (readers.owned == NULL)
		readers.owned = safestart_snapshot_acquire(handle);
	fprintf(to, "%" PRIu64 "\n", safestart_snapshot_generation(readers.owned));
	pthread_mutex_unlock(&readers.lock);
}

void readers_disown(FILE *to, char *argument)
{
	(void)argument;
	pthread_mutex_lock(&readers.lock);
	safestart_snapshot_release(readers.owned);
	readers.owned = NULL;
	pthread_mutex_unlock(&readers.lock);
	fputs("ok\n", to);
}

/* Does what the header forbids: it blocks inside a borrow. */
void readers_borrow(FILE *to, char *argument)
{
	const struct safestart_snapshot *live = safestart_read_lock(handle);
	uint64_t generation = safestart_snapshot_generation(live);

	atomic_fetch_add(&readers.borrowing, 1);
	pause_ms(atoi(argument));
	use(live);
	atomic_fetch_sub(&readers.borrowing, 1);
	safestart_read_unlock(handle);
	fprintf(to, "%" PRIu64 "\n", generation);
}

void readers_stop(void)
{
	atomic_store(&readers.stopping, true);
	for (int i = 0; i < readers.count; i++)
		pthread_join(readers.threads[i], NULL);
	safestart_snapshot_release(readers.owned);
}
