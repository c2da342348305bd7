/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/share: one batch shared between processes (lock_share). A pure state machine: the bytes of
 * the lock file and the time go in; what to do, and new bytes, come out. No system call, so that
 * made-up time and a fuzzer can drive it.
 *
 * Requests of all processes enter the batch that is open. When its window is over, whoever gets
 * LOCK_RUN closes it, runs, and writes down how that ended; all others that are in it leave with
 * that outcome. Closing comes before running, so that who is in the batch has asked before. [P2] A
 * closed batch without an outcome, and nobody holds LOCK_RUN: its leader died, and the next one
 * runs for it.
 *
 * Whatever is wrong with the bytes, the worst that comes of it is one more run: a batch has the id
 * of the file's state, who finds another one there enters anew. */
#ifndef SAFESTART_LOCK_SHARE_H
#define SAFESTART_LOCK_SHARE_H

#include <safestart/safestart.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_OPEN_SIZE 512
#define SHARE_DONE_SIZE 4096
#define SHARE_KEPT 32 /* outcomes, as far as their text fits */

/* The batch that is open. Times are CLOCK_MONOTONIC of the system that booted as `boot`; 0: nobody
 * knows. */
struct share_open {
	uint64_t id; /* 0: not valid */
	uint64_t boot;
	uint64_t sequence; /* all below it are closed */
	uint64_t requests;
	uint64_t carried;      /* requests of closed batches that nobody has answered yet */
	int64_t first, newest; /* request; 0: there is none */
	bool urgent;
};

/* How one run ended; it covers every batch up to its own that no run before it did. */
struct share_outcome {
	uint64_t sequence, requests;
	int32_t verdict, error, status, pid;
	char message[256];
};

/* How the last runs ended, the newest first. */
struct share_done {
	uint64_t id; /* 0: not valid */
	int64_t ended;
	size_t count;
	struct share_outcome outcomes[SHARE_KEPT];
};

/* What one process remembers. */
struct share_me {
	uint64_t boot;
	uint64_t id, sequence; /* the batch it is in; sequence 0: none */
	int64_t since; /* when it entered, the first time if its state is lost again and again */
	uint64_t seen; /* of that id: the newest run whose outcome it knows */
	bool retries;  /* nobody has asked since: a run that others have made meanwhile will do */
};

struct share_conf { /* nanoseconds */
	int64_t debounce, max_delay, min_interval;
};

enum share_action {
	SHARE_ENTER, /* the open batch, perhaps after making a new state */
	SHARE_WAIT,  /* until `at`: the window is open */
	SHARE_LEAD,  /* if LOCK_RUN can be had; else somebody else does, or has not ended yet */
	SHARE_LEAVE  /* with `outcome` */
};

struct share_verdict {
	enum share_action action;
	int64_t at;
	const struct share_outcome *outcome; /* one of done's */
};

struct share_verdict share_decide(const struct share_open *open, const struct share_done *done,
				  const struct share_me *me, const struct share_conf *conf,
				  int64_t now);

/* Enter the open batch, or bump it, with so many requests more. `fresh` becomes the id of a new
 * state if there has to be one; never 0. */
void share_enter(struct share_open *open, const struct share_done *done, struct share_me *me,
		 uint64_t requests, bool urgent, int64_t now, uint64_t fresh);

/* Close the batch that is open. Returns its sequence, and in *requests how many the run covers. */
uint64_t share_close(struct share_open *open, const struct share_done *done, uint64_t *requests);

/* The run for the state `id` has ended like this. */
void share_publish(struct share_done *done, uint64_t id, const struct share_outcome *outcome,
		   int64_t now);

/* To bytes, and back: text, with a checksum. Reading anything else gives id 0. */
void share_print_open(const struct share_open *open, char bytes[SHARE_OPEN_SIZE]);
void share_read_open(struct share_open *open, const char bytes[SHARE_OPEN_SIZE]);
/* Forgets what has no room. */
void share_print_done(struct share_done *done, char bytes[SHARE_DONE_SIZE]);
void share_read_done(struct share_done *done, const char bytes[SHARE_DONE_SIZE]);

/* FNV-1a. */
uint64_t share_hash(const char *bytes, size_t size);

#endif
