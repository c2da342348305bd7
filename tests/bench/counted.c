/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* counted: does one thing a number of times, for tests/bench/counts: `counted
 * reading|asking|applying TIMES [NODES]`. The cost of one is the difference of two runs, because
 * everything that is not repeated cancels out. */
#include "held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_often(struct held_documents *documents, unsigned long times)
{
	struct safestart *ss = held_open(documents, NULL, NULL, "thread=no", NULL);

	for (unsigned long i = 0; i < times; i++) {
		safestart_read_lock(ss);
		safestart_read_unlock(ss);
	}
	held_close(ss);
}

/* The first opens the batch, all others are coalesced into it. */
static void ask_often(struct held_documents *documents, unsigned long times)
{
	struct safestart *ss =
		held_open(documents, NULL, NULL, "thread=no", "debounce=1h", "max_delay=1h", NULL);

	safestart_request_restart(ss);
	safestart_dispatch(ss, 0);
	for (unsigned long i = 0; i < times; i++)
		safestart_request_restart(ss);
	held_close(ss);
}

static void apply_often(struct held_documents *documents, unsigned long times)
{
	struct safestart *ss = held_open(documents, NULL, NULL, "thread=no", NULL);

	for (unsigned long i = 0; i < times; i++) {
		held_flip(documents);
		safestart_wait(ss, safestart_request_restart(ss), -1, NULL);
	}
	held_close(ss);
}

int main(int argc, char **argv)
{
	struct held_documents documents;

	if (argc < 3) {
		fprintf(stderr, "usage: counted reading|asking|applying TIMES [NODES]\n");
		return 2;
	}
	unsigned long times = strtoul(argv[2], NULL, 10);
	held_make(&documents, argc > 3 ? strtoul(argv[3], NULL, 10) : 1000);
	if (strcmp(argv[1], "reading") == 0)
		read_often(&documents, times);
	else if (strcmp(argv[1], "asking") == 0)
		ask_often(&documents, times);
	else
		apply_often(&documents, times);
	held_free(&documents);
	return 0;
}
