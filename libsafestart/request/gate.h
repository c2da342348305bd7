/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate: decides when a run starts. A pure state machine: times go in, a verdict comes out. Runs on
 * the dispatching thread only. It must not touch a clock, a lock or another room, so that tests,
 * a model checker or a fuzzer can drive it with made-up time. */
#ifndef SAFESTART_GATE_H
#define SAFESTART_GATE_H

#include <stdbool.h>
#include <stdint.h>

#define GATE_NEVER INT64_MAX

struct gate_conf { /* all in nanoseconds */
	int64_t debounce;
	int64_t max_delay; /* at least debounce */
	int64_t min_interval;
	int64_t retry_min; /* 0: no retries */
	int64_t retry_max; /* at least retry_min */
};

/* Guarded by nothing: the dispatching thread is the only user. Times are CLOCK_MONOTONIC. [P8] */
struct gate {
	struct gate_conf conf;
	bool running;      /* a run was started and has not ended */
	bool pending;      /* a window of requests is open */
	bool urgent;       /* a request of the open window skips the debounce */
	int64_t first;     /* when the first request of the open window came */
	int64_t newest;    /* when its newest request came */
	int64_t earliest;  /* no run starts before: end of the last run + min_interval */
	int64_t due;       /* when a run starts without a request: first load, retry, reconcile */
	bool due_anyway;   /* also while a window is open: it was about to start, and could not */
	uint32_t failures; /* runs in a row that asked for a retry */
};

/* What to do now. */
struct gate_verdict {
	bool start; /* start a run now; the gate counts it as started */
	/* New requests need not wake the loop before wake_at: they would not change the start, or
	 * looking at wake_at is soon enough. */
	bool wakeups_off;
	int64_t wake_at; /* when to call gate_tick() again; GATE_NEVER: after the next input */
};

void gate_init(struct gate *gate, const struct gate_conf *conf);

/* One or more requests came in since the last call; `now` is when the loop noticed them. */
void gate_request(struct gate *gate, int64_t now, bool urgent);

/* Start a run at `at` even without a request. The earliest such time counts, and any run that
 * starts before it satisfies it. While a window of requests is open the run waits for its end,
 * which max_delay bounds: a run in the middle of a change would apply half of it. [P4] */
void gate_due(struct gate *gate, int64_t at);

/* Time has passed: may a run start? */
struct gate_verdict gate_tick(struct gate *gate, int64_t now);

/* The run has ended. `retry`: start another one after a pause that grows with each failure.
 * `random` spreads the pause. Returns: the pause; GATE_NEVER when there is no retry. */
int64_t gate_ended(struct gate *gate, int64_t now, bool retry, uint32_t random);

/* The run that gate_tick() allowed could not be started: try again at `at`. */
void gate_not_started(struct gate *gate, int64_t at);

/* A callback has returned after its run had already ended (timed out): min_interval counts from
 * here. */
void gate_callback_returned(struct gate *gate, int64_t now);

/* Returns: when the next run starts if no further request comes; GATE_NEVER: none is planned. */
int64_t gate_next_start(const struct gate *gate);

#endif
