/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The application of fuzz_handle. Its callbacks do once what the program told them to, compare
 * what they get with the model, and account for the data that they attach to nodes and
 * generations. */
#ifndef FUZZ_APPLICATION_H
#define FUZZ_APPLICATION_H

#include "model.h"
#include "things.h"

/* What the next call of a callback does. */
struct script {
	uint8_t how;    /* enum how */
	uint8_t reject; /* by index of the change */
	/* Data: 1 on changes, 2 on the generation, 4 on unchanged nodes, 8 what the live ones have.
	 */
	uint8_t hang;
};

enum how {
	HOW_OK,
	HOW_FAIL,
	HOW_POSITIVE, /* a mistake */
	HOW_LATER,
	HOW_EARLY, /* finish, then LATER */
	HOW_EARLY_FAIL,
	HOW_HANG, /* past run_timeout */
	HOW_HANG_LATER,
	HOW_REQUEST, /* request the next run */
	HOW_SHUTDOWN,
	HOW_FORBIDDEN, /* wait, dispatch, close: -EDEADLK */
	HOW_COUNT
};

struct application {
	struct safestart *ss;
	struct script prepare, restart, gather;
	uint8_t document; /* enum handing, of the next gather */
	char text[8192];  /* what the source has */
	char kept[1024];  /* what last_good has at the start; "": nothing */
	bool keep_fails;  /* the next time it is written */
	bool keep_again;  /* it has failed, and may be tried again */
	bool open_fails;  /* the source, the next time */
	unsigned pause;   /* events=pull: so many operations long nothing is taken */
	bool over;        /* nothing but what is retired will come */
	unsigned destroyed;
	const uint64_t *address; /* of the generation's number */
};

enum handing {
	HAND_DOCUMENT,
	HAND_UNCHANGED, /* if it may say so */
	HAND_MALFORMED,
	HAND_NOTHING,
	HAND_COUNT
};

extern struct application application;

void application_reset(void);
void application_use(struct safestart_conf *conf);

/* Ids and addresses of the model's nodes. */
const char *application_id(int id);
void application_address(int id, uint8_t value, char *text, size_t size);
/* Checks that the snapshot has this set, and that its data is not retired. */
void application_hold_nodes(const struct safestart_snapshot *snapshot, const uint8_t nodes[IDS]);

/* In `prepare` or after LATER: reject the index-th change, or attach data to it. */
void application_reject(struct model_run *run, size_t index);
void application_hang(struct model_run *run, uint8_t hang);

/* A callback's part: it compares what it gets with the model, and does what it was told to. */
void application_prepare(struct model_run *run);
void application_restart(struct model_run *run);
/* safestart_run_finish(), or with FAIL_WORDS safestart_run_fail(). */
void application_finish(struct model_run *run, int error, bool words);

#endif
