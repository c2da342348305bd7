/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate: when does a run start? A pure state machine: times come in, a verdict goes out. It knows no
 * clock, no lock and no other room, so that made-up time, a model checker or a fuzzer can drive it.
 * Used by the dispatching thread only. */
#ifndef SAFESTART_GATE_H
#define SAFESTART_GATE_H

#include <stdbool.h>
#include <stdint.h>

#define GATE_NEVER INT64_MAX

struct gate_conf { /* all in nanoseconds */
	int64_t debounce;
	int64_t max_delay;
	int64_t min_interval;
	int64_t retry_min; /* 0: no retries */
	int64_t retry_max;
};

struct gate {
	struct gate_conf conf;
	bool running;
	bool pending;      /* a window of requests is open */
	bool urgent;       /* it skips debounce */
	int64_t first;     /* its first request */
	int64_t newest;    /* and its newest */
	int64_t earliest;  /* end of the last run + min_interval */
	int64_t due;       /* a run nobody asked for: first load, retry, reconcile */
	uint32_t failures; /* runs in a row that asked for a retry */
};

/* What to do now. */
struct gate_verdict {
	bool start; /* a run starts now; the gate takes it as started */
	/* Requests need not be noticed before wake_at: they would change nothing, or it is soon
	 * enough. */
	bool deaf;
	int64_t wake_at; /* ask again then; GATE_NEVER: only after the next input */
};

void gate_init(struct gate *gate, const struct gate_conf *conf);

/* A request came in, or several since the last look: noticed at `now`. */
void gate_request(struct gate *gate, int64_t now, bool urgent);

/* A run shall start at `at` even if nobody asks; the earliest one wins, any run meets it. */
void gate_due(struct gate *gate, int64_t at);

/* Time has passed. */
struct gate_verdict gate_tick(struct gate *gate, int64_t now);

/* The run has ended; `again`: try again by yourself. `random` spreads the pause, which is returned
 * (GATE_NEVER: there will be no retry). */
int64_t gate_ended(struct gate *gate, int64_t now, bool again, uint32_t random);

/* It could not be started: try at `at`. */
void gate_not_started(struct gate *gate, int64_t at);

/* A callback of a run that has ended before has only now returned: min_interval counts from here.
 */
void gate_returned(struct gate *gate, int64_t now);

/* When the next run starts if no further request comes; GATE_NEVER: not by itself. */
int64_t gate_next_start(const struct gate *gate);

#endif
