/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/share: the shared batch, one for many processes (lock_share). A pure state machine: the
 * bytes of the lock file and the time go in; what to do, and new bytes, come out. Dispatching
 * thread. It must not make a system call, so that made-up time and a fuzzer can drive it.
 *
 * Requests of all processes enter the open batch. When its window is over, the process that gets
 * LOCK_RUN closes the batch, makes the run and writes its outcome; all others in the batch leave
 * with that outcome. [P6] Closing comes before running, so every process in the batch has asked
 * before the run. [P2] A closed batch without an outcome while LOCK_RUN is free: its leader died,
 * and the next process to get LOCK_RUN makes the run for it. [P18]
 *
 * However wrong the bytes are, the worst result is one run more: a batch belongs to the id of the
 * file's state, and a process that finds another id there enters again. [P18] */
#ifndef SAFESTART_LOCK_SHARE_H
#define SAFESTART_LOCK_SHARE_H

#include <safestart/safestart.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_OPEN_SIZE 512
#define SHARE_DONE_SIZE 4096
#define SHARE_KEPT 32 /* outcomes, as far as their text fits */

/* The open batch, as the file has it: guarded by LOCK_STATE. Times are CLOCK_MONOTONIC of the
 * system that booted as `boot`; 0: not known. */
struct share_open {
	uint64_t id; /* of the state; 0: not valid */
	uint64_t boot;
	uint64_t sequence; /* of this batch; all below it are closed */
	uint64_t requests;
	uint64_t carried;      /* requests of closed batches that have no outcome yet */
	int64_t first, newest; /* when the first and the newest request came; 0: there is none */
	bool urgent;
};

/* How one run ended. It covers its own batch and every earlier one without an outcome. */
struct share_outcome {
	uint64_t sequence, requests;
	int32_t verdict, error, status, pid;
	char message[256];
};

/* How the last runs ended, as the file has it: guarded by LOCK_RUN. */
struct share_done {
	uint64_t id;   /* of the state; 0: not valid */
	int64_t ended; /* when the newest run ended */
	size_t count;
	/* The newest first: each sequence is below the one before. */
	struct share_outcome outcomes[SHARE_KEPT];
};

/* What one process remembers. The dispatching thread's. */
struct share_me {
	uint64_t boot;
	uint64_t id, sequence; /* the batch this process is in; sequence 0: in none */
	int64_t since; /* when it entered; kept when the state is lost and it enters again */
	uint64_t seen; /* the newest run of state `id` whose outcome it has */
	bool retries;  /* only a retry is due: a run by another process since is enough */
};

struct share_conf { /* nanoseconds */
	int64_t debounce, max_delay, min_interval;
};

enum share_action {
	SHARE_ENTER, /* enter the open batch, with a new state if this one is not valid */
	SHARE_WAIT,  /* wait until `at`: the window is open, or min_interval is not over */
	SHARE_LEAD,  /* make the run, if LOCK_RUN is free; else another process runs or leads */
	SHARE_LEAVE  /* leave with `outcome` */
};

struct share_verdict {
	enum share_action action;
	int64_t at;
	const struct share_outcome *outcome; /* one of done's */
};

struct share_verdict share_decide(const struct share_open *open, const struct share_done *done,
				  const struct share_me *me, const struct share_conf *conf,
				  int64_t now);

/* Enter the open batch with that many requests, or add them if this process is in it already.
 * `new_id`, which is not 0, becomes the id of a new state if one is needed. LOCK_STATE is held. */
void share_enter(struct share_open *open, const struct share_done *done, struct share_me *me,
		 uint64_t requests, bool urgent, int64_t now, uint64_t new_id);

/* Close the open batch, after SHARE_LEAD. Returns: its sequence, and in *requests how many requests
 * the run covers. LOCK_STATE and LOCK_RUN are held. */
uint64_t share_close(struct share_open *open, const struct share_done *done, uint64_t *requests);

/* The run for the state `id` has ended like this. LOCK_RUN is held. */
void share_publish(struct share_done *done, uint64_t id, const struct share_outcome *outcome,
		   int64_t now);

/* To bytes and back: text with a checksum. Reading anything else gives id 0. */
void share_print_open(const struct share_open *open, char bytes[SHARE_OPEN_SIZE]);
void share_read_open(struct share_open *open, const char bytes[SHARE_OPEN_SIZE]);
/* Drops the oldest outcomes when there is no room for all. */
void share_print_done(struct share_done *done, char bytes[SHARE_DONE_SIZE]);
void share_read_done(struct share_done *done, const char bytes[SHARE_DONE_SIZE]);

/* FNV-1a. */
uint64_t share_hash(const char *bytes, size_t size);

#endif
