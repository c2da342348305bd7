/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate's world for test_gate_states.c: the door and the loop as far as the gate meets them,
 * everything that can happen, and what is promised. A state is made of bytes and has all times
 * relative to now, forgotten where nothing depends on them any more, so that there are finitely
 * many. */
#ifndef GATE_WORLD_H
#define GATE_WORLD_H

#include "request/gate.h"

#include <string.h>

#define NEVER INT8_MAX

/* Settings in steps of the grid; a step is `unit` ns, and the gate's life begins near `origin`. */
struct grid {
	int debounce, max_delay, min_interval, retry_min, retry_max;
	int late; /* so many steps may pass before the loop does what it is woken for */
	int64_t unit, origin;
};

struct state {
	/* The gate: its times as steps from now. */
	int8_t first, newest, earliest, due;
	uint8_t failures;
	bool running, pending, urgent, due_anyway;
	/* The loop. */
	bool wakeups_off; /* as the last verdict said */
	/* Overdue: steps since it ought to have looked; -1: it may sleep. */
	int8_t wake_at, overdue;
	/* The door: did somebody ask since the last look; is somebody in the batch in a hurry? */
	bool unheard, hurry;
	/* What has happened, seen from outside. asked_*: requests that no run has covered yet. */
	bool in_run, asked;
	int8_t asked_first, asked_newest, asked_urgently;
	int8_t floor;         /* end of the last run, or return of its callback, + min_interval */
	int8_t owed;          /* a run that was announced: retry, reconcile, first load */
	bool failed_to_start; /* what is owed was let through before: no request delays it again */
	uint8_t failed;
};

enum action {
	TIME,
	LOOK,
	LOOK_IN_VAIN,
	ASK,
	ASK_URGENTLY,
	HINT,
	END,
	END_AGAIN,
	END_AGAIN_MIDDLE,
	END_AGAIN_MOST,
	DUE,
	DUE_LATER,
	RETURNED,
	ACTIONS
};

static const char *const action_names[] = {"a step of time",
					   "look",
					   "look, but no run can be started",
					   "request",
					   "urgent request",
					   "the source hints",
					   "run ends",
					   "run ends, again",
					   "run ends, again, middle jitter",
					   "run ends, again, most jitter",
					   "due now",
					   "due later",
					   "a late callback returns"};

#define DUE_LATER_STEPS 3
#define TRY_AGAIN_STEPS 2

/* One step being taken. */
struct step {
	const struct grid *grid;
	struct gate gate;
	int64_t now;
	struct state state;
	const char *broken; /* the promise that does not hold */
};

#define HOLDS(step, condition, promise)                           \
	do {                                                      \
		if (!(condition) && (step)->broken == NULL)       \
			(step)->broken = promise ": " #condition; \
	} while (0)

static int least(int a, int b)
{
	return a < b ? a : b;
}

static int most(int a, int b)
{
	return a > b ? a : b;
}

/* A request goes unheard for at most this long: a quarter of the debounce, and the nanosecond that
 * makes it move. */
static int quarter(const struct grid *grid)
{
	return grid->debounce > 0 ? grid->debounce / 4 + 1 : 0;
}

/* ---- Between a state and a gate ---- */

/* What the backoff would be without jitter. */
static int backoff(const struct grid *grid, int failures)
{
	int pause = grid->retry_min;

	for (int i = 0; i < failures && pause < grid->retry_max; i++)
		pause *= 2;
	return least(pause, grid->retry_max);
}

/* One more failure makes no difference from here on. */
static uint8_t bounded_failures(const struct grid *grid, uint32_t failures)
{
	uint32_t enough = 0;

	while (backoff(grid, (int)enough) < grid->retry_max)
		enough++;
	return (uint8_t)(failures < enough ? failures : enough);
}

static int64_t time_at(const struct step *step, int8_t steps)
{
	return steps == NEVER ? GATE_NEVER : step->now + steps * step->grid->unit;
}

/* Rounded up: on the grid nothing happens in between. Before `oldest` it does not matter when. */
static int8_t steps_until(const struct step *step, int64_t time, int oldest)
{
	int64_t unit = step->grid->unit;

	if (time == GATE_NEVER)
		return NEVER;
	if (time <= step->now + oldest * unit)
		return (int8_t)oldest;
	int64_t distance = time - step->now;
	return (int8_t)(distance / unit + (distance > 0 && distance % unit != 0));
}

static struct gate_conf conf_of(const struct grid *grid)
{
	return (struct gate_conf){grid->debounce * grid->unit, grid->max_delay * grid->unit,
				  grid->min_interval * grid->unit, grid->retry_min * grid->unit,
				  grid->retry_max * grid->unit};
}

static void wake_gate(struct step *step, bool rubbish)
{
	const struct grid *grid = step->grid;
	const struct state *state = &step->state;
	int64_t long_ago = rubbish ? 9 * grid->unit : 0;
	const struct gate_conf conf = conf_of(grid);
	struct gate *gate = &step->gate;

	gate_init(gate, &conf);
	gate->running = state->running;
	gate->pending = state->pending;
	gate->urgent = state->urgent;
	gate->due_anyway = state->due_anyway;
	gate->failures = state->failures;
	if (rubbish && state->failures > 0 && state->failures == bounded_failures(grid, UINT32_MAX))
		gate->failures = UINT32_MAX;
	gate->first =
		time_at(step, state->first) - (state->first <= -grid->max_delay ? long_ago : 0);
	gate->newest = /* never before the first */
		time_at(step, state->newest) -
		(state->newest <= -grid->debounce && state->first <= -grid->max_delay ? long_ago
										      : 0);
	gate->earliest =
		rubbish && state->earliest == 0 ? INT64_MIN : time_at(step, state->earliest);
	gate->due = time_at(step, state->due) - (state->due == 0 ? long_ago : 0);
	if (rubbish && !state->pending)
		gate->first = gate->newest = GATE_NEVER - 1;
}

static void lay_down_gate(struct step *step)
{
	const struct grid *grid = step->grid;
	const struct gate *gate = &step->gate;
	struct state *state = &step->state;

	state->running = gate->running;
	state->pending = gate->pending;
	state->urgent = gate->urgent;
	state->due_anyway = gate->due_anyway;
	state->failures = bounded_failures(grid, gate->failures);
	state->first = gate->pending ? steps_until(step, gate->first, -grid->max_delay) : 0;
	state->newest = gate->pending ? steps_until(step, gate->newest, -grid->debounce) : 0;
	state->earliest = steps_until(step, gate->earliest, 0);
	state->due = steps_until(step, gate->due, 0);
}

/* ---- What is promised ---- */

/* The latest start of a run that covers what was asked; without lateness of the loop. [P4] */
static int latest_start(const struct grid *grid, const struct state *state)
{
	int quiet = least(state->asked_newest + grid->debounce + quarter(grid),
			  state->asked_first + grid->max_delay);

	return most(least(quiet, state->asked_urgently), state->floor);
}

static void check_start(struct step *step)
{
	const struct grid *grid = step->grid;
	const struct state *state = &step->state;
	bool quiet = state->asked_newest + grid->debounce <= 0 ||
		     state->asked_first + grid->max_delay <= 0;
	bool let_through = state->failed_to_start && state->owed <= 0;

	HOLDS(step, !state->in_run, "P1, one at a time");
	HOLDS(step, state->floor <= 0, "P4, min_interval");
	HOLDS(step, state->asked || state->owed <= 0, "P3, a run for nothing");
	HOLDS(step, !state->asked || state->hurry || quiet || let_through,
	      "P4, debounce: the run is in the middle of a change");
}

/* In every state. As the loop always may look, and a look lets time pass, `not too late` means `in
 * time`. */
static void check_state(struct step *step)
{
	const struct grid *grid = step->grid;
	const struct state *state = &step->state;

	if (state->in_run)
		return;
	HOLDS(step, !state->asked || latest_start(grid, state) + 2 * grid->late >= 0,
	      "P2, P4: the run came too late, or never");
	/* It may have to wait for the window that is open: see above. */
	int latest = state->asked && !state->failed_to_start
			     ? latest_start(grid, state) + grid->late
			     : -NEVER;
	HOLDS(step,
	      state->owed == NEVER ||
		      most(latest, most(state->owed, state->floor)) + grid->late >= 0,
	      "P15, a run that was owed came too late, or never");
}

/* From here on nothing more comes but the end of the run: when does the next one start? [P5] */
static void check_next_start(struct step *step)
{
	const struct state *state = &step->state;
	struct gate gate = step->gate;
	struct gate_verdict verdict = {.wake_at = step->now};
	int floor = state->floor;

	if (state->in_run) {
		HOLDS(step, gate_next_start(&gate) == GATE_NEVER,
		      "P1, a start is announced during a run");
		gate_ended(&gate, step->now, false, 0);
		floor = step->grid->min_interval;
	}
	int64_t announced = gate_next_start(&gate), now = step->now;
	for (int looks = 0; looks < 2 * NEVER && !verdict.start && verdict.wake_at != GATE_NEVER;
	     looks++) {
		now = verdict.wake_at;
		verdict = gate_tick(&gate, now);
	}
	HOLDS(step, verdict.start == (state->asked || state->owed != NEVER),
	      "P5, P15: something is wanted, and no run will come (or the reverse)");
	HOLDS(step, !verdict.start || now == (announced > step->now ? announced : step->now),
	      "the start is not when it was announced");
	if (state->asked)
		HOLDS(step,
		      steps_until(step, now, 0) <=
			      most(most(latest_start(step->grid, state), floor), 0) +
				      2 * step->grid->late,
		      "P5, later than promised");
}

/* ---- The actions ---- */

static void shift(int8_t *time, int oldest)
{
	if (*time != NEVER)
		*time = (int8_t)most(*time - 1, oldest);
}

static bool pass_time(struct step *step)
{
	const struct grid *grid = step->grid;
	struct state *state = &step->state;
	int slack = 2 * grid->late;

	if (state->overdue >= grid->late)
		return false;
	step->now += grid->unit;
	shift(&state->asked_first, -grid->max_delay - slack);
	shift(&state->asked_newest, -grid->debounce - quarter(grid) - slack);
	shift(&state->asked_urgently, -slack);
	shift(&state->floor, -slack);
	shift(&state->owed, -slack);
	shift(&state->wake_at, 0);
	if (state->overdue >= 0) {
		state->overdue++;
	} else if (state->wake_at <= 0) {
		state->overdue = 0;
		state->wake_at = NEVER;
	}
	return true;
}

static void wake_loop(struct state *state)
{
	state->overdue = (int8_t)most(state->overdue, 0);
	state->wake_at = NEVER;
}

/* As in request.c: a loop with its wake-ups off finds it when it looks by itself, unless it is
 * urgent. */
static void ask(struct step *step, bool urgently)
{
	struct state *state = &step->state;

	if (!state->asked)
		state->asked_first = 0;
	state->asked = state->unheard = true;
	state->asked_newest = 0;
	if (urgently)
		state->asked_urgently = (int8_t)least(state->asked_urgently, 0);
	state->hurry = state->hurry || urgently;
	if (!state->wakeups_off || urgently)
		wake_loop(state);
}

/* A change that the source has noticed: not through the door, the loop itself tells the gate. */
static void hint(struct step *step)
{
	struct state *state = &step->state;

	if (!state->asked)
		state->asked_first = 0;
	state->asked = true;
	state->asked_newest = 0;
	gate_request(&step->gate, step->now, false);
	wake_loop(state);
}

static void forget_asked(struct state *state)
{
	state->asked = false;
	state->asked_first = state->asked_newest = 0;
	state->asked_urgently = NEVER;
}

static void start(struct step *step, bool in_vain)
{
	struct state *state = &step->state;

	check_start(step);
	forget_asked(state);
	state->owed = NEVER;
	if (in_vain) { /* the batch stays open: it is covered by the next attempt */
		gate_not_started(&step->gate, step->now + TRY_AGAIN_STEPS * step->grid->unit);
		state->owed = TRY_AGAIN_STEPS;
		state->failed_to_start = true;
	} else {
		state->failed_to_start = false;
		state->in_run = true;
		state->hurry = false;
	}
}

/* As in dispatch.c. */
static bool look(struct step *step, bool in_vain)
{
	struct state *state = &step->state;
	bool heard = state->unheard;

	if (heard)
		gate_request(&step->gate, step->now, state->hurry);
	state->unheard = false;
	struct gate_verdict verdict = gate_tick(&step->gate, step->now);
	if (in_vain && !verdict.start)
		return false;
	if (verdict.start) {
		start(step, in_vain);
		verdict = gate_tick(&step->gate, step->now);
	}
	HOLDS(step, !verdict.start, "P1, two at once");
	HOLDS(step, verdict.wake_at > step->now, "the loop would spin");
	HOLDS(step, verdict.wakeups_off || !heard || !state->asked,
	      "P3, each request of a storm wakes the loop");
	HOLDS(step, !verdict.wakeups_off || state->asked,
	      "wake-ups are off although no request waits: nothing would look");
	HOLDS(step, verdict.wake_at == GATE_NEVER || state->asked || state->owed != NEVER,
	      "wakes for nothing");
	state->wakeups_off = verdict.wakeups_off;
	state->wake_at = steps_until(step, verdict.wake_at, 0);
	state->overdue = -1;
	check_next_start(step);
	return true;
}

static void announce(struct step *step, int steps)
{
	gate_due(&step->gate, step->now + steps * step->grid->unit);
	step->state.owed = (int8_t)least(step->state.owed, steps);
	wake_loop(&step->state);
}

static bool end(struct step *step, bool again, uint32_t random)
{
	const struct grid *grid = step->grid;
	struct state *state = &step->state;

	if (!state->in_run)
		return false;
	int64_t pause = gate_ended(&step->gate, step->now, again, random);
	int64_t full = backoff(grid, state->failed) * grid->unit;
	state->in_run = false;
	state->floor = (int8_t)grid->min_interval;
	wake_loop(state);
	if (!again || grid->retry_min == 0) {
		HOLDS(step, pause == GATE_NEVER, "a retry nobody asked for");
		state->failed = 0;
		return true;
	}
	HOLDS(step, pause <= full && pause >= full / 2, "P15, backoff");
	HOLDS(step, random != 0 || pause == full, "P15, jitter upwards");
	HOLDS(step, random != UINT32_MAX || pause == full - full / 2, "P15, jitter");
	HOLDS(step, step->gate.failures > 0, "P15, the backoff begins anew");
	state->owed = (int8_t)least(state->owed, steps_until(step, step->now + pause, 0));
	state->failed = bounded_failures(grid, state->failed + 1u);
	return true;
}

static void come_back(struct step *step)
{
	gate_callback_returned(&step->gate, step->now);
	step->state.floor = (int8_t)step->grid->min_interval;
	wake_loop(&step->state);
}

/* False: it cannot happen in this state. */
static bool act(struct step *step, enum action action)
{
	switch (action) {
	case TIME: return pass_time(step);
	case LOOK: return look(step, false);
	case LOOK_IN_VAIN: return look(step, true);
	case ASK: ask(step, false); return true;
	case ASK_URGENTLY: ask(step, true); return true;
	case HINT: hint(step); return true;
	case END: return end(step, false, 0);
	case END_AGAIN: return end(step, true, 0);
	case END_AGAIN_MIDDLE: return end(step, true, UINT32_MAX / 2);
	case END_AGAIN_MOST: return end(step, true, UINT32_MAX);
	case DUE: announce(step, 0); return true;
	case DUE_LATER: announce(step, DUE_LATER_STEPS); return true;
	case RETURNED: come_back(step); return true;
	default: return false;
	}
}

static bool take(struct step *step, const struct grid *grid, const struct state *from,
		 enum action action, int64_t now, bool rubbish)
{
	*step = (struct step){.grid = grid, .now = now};
	step->state = *from;
	wake_gate(step, rubbish);
	if (!act(step, action))
		return false;
	const struct gate_conf conf = conf_of(grid);
	HOLDS(step, memcmp(&step->gate.conf, &conf, sizeof(conf)) == 0,
	      "P5, latched: the settings are not what they were");
	lay_down_gate(step);
	check_state(step);
	return true;
}

#endif
