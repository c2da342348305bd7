/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gate: the state machine behind gate.h. Dispatching thread only; no clock, no lock, no system
 * call. Two times decide when a run starts: the end of the request window (or, while none is open,
 * the time a run is due without a request), and the earliest start that min_interval allows. The
 * later one wins. */
#include "request/gate.h"

#include "base/invariant.h"

/* Saturates: a time near the end of the range (a debounce of 200 years) must not wrap around into
 * the past. */
static int64_t later(int64_t time, int64_t delay)
{
	invariant(delay >= 0);
	return time > GATE_NEVER - delay ? GATE_NEVER : time + delay;
}

static int64_t min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static inline bool conf_holds(const struct gate_conf *conf)
{
	return conf->debounce >= 0 && conf->max_delay >= conf->debounce &&
	       conf->min_interval >= 0 && conf->retry_min >= 0 &&
	       conf->retry_max >= conf->retry_min;
}

/* What holds between two calls: a window has its requests in order, only an open window can be
 * urgent, and without retries no failure is counted. */
static inline __attribute__((unused)) bool gate_holds(const struct gate *gate)
{
	return conf_holds(&gate->conf) && (!gate->pending || gate->first <= gate->newest) &&
	       (!gate->urgent || gate->pending) && (!gate->due_anyway || gate->due != GATE_NEVER) &&
	       (gate->failures == 0 || gate->conf.retry_min > 0);
}

void gate_init(struct gate *gate, const struct gate_conf *conf)
{
	*gate = (struct gate){.conf = *conf, .earliest = INT64_MIN, .due = GATE_NEVER};
	invariant(gate_holds(gate));
	invariant(gate_next_start(gate) == GATE_NEVER);
}

void gate_request(struct gate *gate, int64_t now, bool urgent)
{
	invariant(gate_holds(gate));
	invariant(!gate->pending || now >= gate->newest); /* the clock never goes back [P8] */
	if (!gate->pending) {
		gate->pending = true;
		gate->first = now;
	}
	gate->newest = now;
	gate->urgent = gate->urgent || urgent;
	invariant(gate_holds(gate));
	/* No later than max_delay, unless a run or min_interval is in the way. [P4] */
	invariant(gate->running ||
		  gate_next_start(gate) <= max(later(now, gate->conf.max_delay), gate->earliest));
}

void gate_due(struct gate *gate, int64_t at)
{
	invariant(gate_holds(gate));
	gate->due = min(gate->due, at);
	invariant(gate->due <= at);
}

/* When the open window has been quiet for long enough, or has been open for too long. [P4] */
static int64_t window_end(const struct gate *gate)
{
	if (!gate->pending)
		return GATE_NEVER;
	if (gate->urgent)
		return gate->first;
	return min(later(gate->newest, gate->conf.debounce),
		   later(gate->first, gate->conf.max_delay));
}

int64_t gate_next_start(const struct gate *gate)
{
	int64_t wanted = gate->due;

	if (gate->pending)
		wanted = gate->due_anyway ? min(window_end(gate), gate->due) : window_end(gate);
	return gate->running || wanted == GATE_NEVER ? GATE_NEVER : max(wanted, gate->earliest);
}

/* Can a further request still move the start of the window's run? */
static bool window_can_move(const struct gate *gate, int64_t now)
{
	return !gate->urgent && gate->conf.debounce > 0 &&
	       now < later(gate->first, gate->conf.max_delay);
}

/* The run takes the whole window with it, and what was due as well. [P3] */
static struct gate_verdict start_run(struct gate *gate, int64_t now)
{
	invariant(!gate->running);        /* one at a time [P1] */
	invariant(now >= gate->earliest); /* min_interval is kept [P4] */
	invariant(gate->pending || gate->due <= now);
	gate->running = true;
	gate->pending = false;
	gate->urgent = false;
	gate->due = GATE_NEVER;
	gate->due_anyway = false;
	invariant(gate_holds(gate));
	invariant(gate_next_start(gate) == GATE_NEVER);
	return (struct gate_verdict){.start = true, .wake_at = GATE_NEVER};
}

struct gate_verdict gate_tick(struct gate *gate, int64_t now)
{
	int64_t start = gate_next_start(gate);

	invariant(gate_holds(gate));
	if (start <= now)
		return start_run(gate, now);
	struct gate_verdict verdict = {.wake_at = start};
	if (!gate->pending)
		return verdict;
	if (!window_can_move(gate, now)) {
		verdict.wakeups_off = true;
	} else if (now < window_end(gate)) {
		/* The loop looks every quarter of the debounce by itself, so the requests of a
		 * storm need not wake it one by one. A run is late by at most that quarter. [P4] */
		verdict.wakeups_off = true;
		verdict.wake_at =
			min(start, min(window_end(gate), later(now, gate->conf.debounce / 4 + 1)));
	} /* else: the window is quiet, but a run or min_interval holds it back. The next request
	   * moves its start, so it has to wake the loop. */
	invariant(verdict.wake_at > now); /* the loop would spin */
	invariant(verdict.wake_at <= start);
	return verdict;
}

/* retry_min, doubled for each failure before, at most retry_max. [P15] */
static int64_t backoff(const struct gate *gate)
{
	int64_t pause = gate->conf.retry_min;

	for (uint32_t i = 0; i < gate->failures && pause < gate->conf.retry_max; i++)
		pause = later(pause, pause);
	return min(pause, gate->conf.retry_max);
}

int64_t gate_ended(struct gate *gate, int64_t now, bool retry, uint32_t random)
{
	invariant(gate_holds(gate));
	invariant(gate->running);
	gate->running = false;
	gate->earliest = later(now, gate->conf.min_interval);
	if (!retry || gate->conf.retry_min == 0) {
		gate->failures = 0;
		return GATE_NEVER;
	}
	int64_t full = backoff(gate), pause = full;
	invariant(full >= gate->conf.retry_min);
	invariant(full <= gate->conf.retry_max);
	/* Up to half of it is cut off at random: processes that failed together must not all come
	 * back at the same moment. */
	pause -= (int64_t)((double)pause / 2 * ((double)random / UINT32_MAX));
	if (gate->failures < UINT32_MAX)
		gate->failures++;
	gate_due(gate, later(now, pause));
	/* At most half, but for the rounding of a double. */
	invariant(pause <= full);
	invariant(full - pause <= full / 2 + 1024);
	invariant(gate_holds(gate));
	invariant(gate->due <= later(now, pause));
	return pause;
}

void gate_not_started(struct gate *gate, int64_t at)
{
	invariant(gate_holds(gate));
	invariant(gate->running);
	gate->running = false;
	gate_due(gate, at);
	/* Its window is over. Requests that come until then join it, and do not delay it. */
	gate->due_anyway = gate->due != GATE_NEVER;
	invariant(gate_holds(gate));
	invariant(gate_next_start(gate) != GATE_NEVER || at == GATE_NEVER);
}

void gate_callback_returned(struct gate *gate, int64_t now)
{
	invariant(gate_holds(gate));
	gate->earliest = max(gate->earliest, later(now, gate->conf.min_interval));
	invariant(gate->earliest >= now);
}
