/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request/gate.h"

/* Times near the end of the range (a debounce of 200 years) must not wrap into the past. */
static int64_t later(int64_t time, int64_t delay)
{
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

void gate_init(struct gate *gate, const struct gate_conf *conf)
{
	*gate = (struct gate){.conf = *conf, .earliest = INT64_MIN, .due = GATE_NEVER};
}

void gate_request(struct gate *gate, int64_t now, bool urgent)
{
	if (!gate->pending) {
		gate->pending = true;
		gate->first = now;
	}
	gate->newest = now;
	gate->urgent = gate->urgent || urgent;
}

void gate_due(struct gate *gate, int64_t at)
{
	gate->due = min(gate->due, at);
}

/* When the open window has been quiet for long enough, or has been open for too long. */
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
	int64_t wanted = min(window_end(gate), gate->due);

	return gate->running || wanted == GATE_NEVER ? GATE_NEVER : max(wanted, gate->earliest);
}

/* Can a further request still move the start of the window's run? */
static bool window_can_move(const struct gate *gate, int64_t now)
{
	return !gate->urgent && gate->conf.debounce > 0 &&
	       now < later(gate->first, gate->conf.max_delay);
}

struct gate_verdict gate_tick(struct gate *gate, int64_t now)
{
	int64_t start = gate_next_start(gate);

	if (start <= now) {
		gate->running = true;
		gate->pending = false;
		gate->urgent = false;
		gate->due = GATE_NEVER;
		return (struct gate_verdict){.start = true, .wake_at = GATE_NEVER};
	}
	struct gate_verdict verdict = {.wake_at = start};
	if (!gate->pending)
		return verdict;
	if (!window_can_move(gate, now)) {
		verdict.deaf = true;
	} else if (now < window_end(gate)) {
		/* Looking every quarter of the debounce is what lets requests go by without waking
		 * anybody. */
		verdict.deaf = true;
		verdict.wake_at =
			min(start, min(window_end(gate), later(now, gate->conf.debounce / 4 + 1)));
	} /* else: quiet, but held by a run or min_interval: the next request has to be noticed by
	     itself */
	return verdict;
}

int64_t gate_ended(struct gate *gate, int64_t now, bool again, uint32_t random)
{
	gate->running = false;
	gate->earliest = later(now, gate->conf.min_interval);
	if (!again || gate->conf.retry_min == 0) {
		gate->failures = 0;
		return GATE_NEVER;
	}
	int64_t pause = gate->conf.retry_min;
	for (uint32_t i = 0; i < gate->failures && pause < gate->conf.retry_max; i++)
		pause = later(pause, pause);
	pause = min(pause, gate->conf.retry_max);
	/* At most half, downwards: a herd that failed together must not come back together. */
	pause -= (int64_t)((double)pause / 2 * ((double)random / UINT32_MAX));
	if (gate->failures < UINT32_MAX)
		gate->failures++;
	gate_due(gate, later(now, pause));
	return pause;
}

void gate_not_started(struct gate *gate, int64_t at)
{
	gate->running = false;
	gate_due(gate, at);
}

void gate_returned(struct gate *gate, int64_t now)
{
	gate->earliest = max(gate->earliest, later(now, gate->conf.min_interval));
}
