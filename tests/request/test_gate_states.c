/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate, exhaustively: every sequence of inputs over a grid of times, breadth first, until no
 * new state comes. Each step is taken by two gates, one of them far away in time and with
 * garbage in the fields that must not matter; they have to agree [P8]. Shutdown is not among the
 * inputs: the loop does not ask the gate after it. */
#include "request/gate_world.h"

#include <inttypes.h>
#include <stdio.h>

#include "support/support.h"

/* ---- The search ---- */

struct search {
	struct state *states; /* in the order they were found */
	struct {
		uint32_t parent;
		enum action action;
	} * from;        /* how it was reached, for printing the path */
	uint32_t *slots; /* a hash table of indices + 1 */
	uint32_t count, room;
	uint64_t steps;
};

static uint32_t *slot_of(const struct search *search, const struct state *state)
{
	const unsigned char *bytes = (const unsigned char *)state;
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < sizeof(*state); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	for (size_t at = (size_t)(hash ^ hash >> 32);; at++) {
		uint32_t *slot = &search->slots[at % (2 * (size_t)search->room)];
		if (*slot == 0 || memcmp(&search->states[*slot - 1], state, sizeof(*state)) == 0)
			return slot;
	}
}

static void make_room(struct search *search)
{
	search->room = search->room != 0 ? 2 * search->room : 1 << 12;
	search->states = realloc(search->states, search->room * sizeof(*search->states));
	search->from = realloc(search->from, search->room * sizeof(*search->from));
	free(search->slots);
	search->slots = calloc(2 * (size_t)search->room, sizeof(*search->slots));
	ck_assert(search->states != NULL && search->from != NULL && search->slots != NULL);
	for (uint32_t i = 0; i < search->count; i++)
		*slot_of(search, &search->states[i]) = i + 1;
}

static void found(struct search *search, const struct state *state, uint32_t parent,
		  enum action action)
{
	if (search->count == search->room)
		make_room(search);
	uint32_t *slot = slot_of(search, state);
	if (*slot != 0)
		return;
	search->states[search->count] = *state;
	search->from[search->count].parent = parent;
	search->from[search->count].action = action;
	*slot = ++search->count;
}

static void tell(const struct search *search, const struct grid *grid, uint32_t at,
		 enum action last, const char *what)
{
	enum action story[256];
	int length = 0;

	printf("debounce %d, max_delay %d, min_interval %d, retries %d to %d, loop up to %d "
	       "late:\n",
	       grid->debounce, grid->max_delay, grid->min_interval, grid->retry_min,
	       grid->retry_max, grid->late);
	for (; at != 0 && length < 256; at = search->from[at].parent)
		story[length++] = search->from[at].action;
	while (length > 0)
		printf("  %s\n", action_names[story[--length]]);
	printf("  %s\n", action_names[last]);
	fflush(stdout);
	ck_abort_msg("%s", what);
}

static void explore(const struct grid *grid)
{
	struct search search = {0};
	struct state nothing;
	struct step step, other;

	memset(&nothing, 0, sizeof(nothing)); /* and no padding: all members are bytes */
	nothing.due = nothing.owed = nothing.wake_at = nothing.asked_urgently = NEVER;
	nothing.floor = (int8_t)(-2 * grid->late);
	nothing.overdue = -1;
	found(&search, &nothing, 0, TIME);
	for (uint32_t i = 0; i < search.count; i++) {
		for (enum action action = TIME; action < ACTIONS; action++) {
			struct state from = search.states[i];
			if (!take(&step, grid, &from, action, grid->origin, false))
				continue;
			take(&other, grid, &from, action, grid->origin / 3 + 12345, true);
			if (step.broken == NULL &&
			    (other.broken != NULL ||
			     memcmp(&step.state, &other.state, sizeof(step.state)) != 0))
				step.broken = "P8: it depends on when, or on what is over";
			if (step.broken != NULL)
				tell(&search, grid, i, action, step.broken);
			search.steps++;
			found(&search, &step.state, i, action);
		}
	}
	printf("gate: debounce %d, max_delay %d, min_interval %d, retries %d to %d, loop up to %d "
	       "late, %" PRId64 " ns a step: %" PRIu32 " states, %" PRIu64 " steps\n",
	       grid->debounce, grid->max_delay, grid->min_interval, grid->retry_min,
	       grid->retry_max, grid->late, grid->unit, search.count, search.steps);
	fflush(stdout);
	free(search.states);
	free(search.from);
	free(search.slots);
}

/* ---- The grids ---- */

#define SOON INT64_C(1000000000000)
/* A step of nine years: the longest settings there are, on a clock that has gone for more than a
 * century. */
#define NINE_YEARS (INT64_C(1) << 58)
#define LATE_IN_TIME (INT64_MAX - 12 * NINE_YEARS)

/* In a soak also with every time doubled and trebled. */
static void explore_all(const struct grid *grids, size_t count)
{
	for (int times = 1; times <= (repeat(1) > 1 ? 3 : 1); times++) {
		for (size_t i = 0; i < count; i++) {
			struct grid grid = grids[i];
			grid.debounce *= times;
			grid.max_delay *= times;
			grid.min_interval *= times;
			grid.retry_min *= times;
			grid.retry_max *= times;
			/* A power of two: doubles, of which jitter is made, are exact. */
			grid.unit = grid.unit > 1 ? grid.unit >> (times - 1) : 1;
			explore(&grid);
		}
	}
}

#define EXPLORE(...)                                    \
	explore_all((const struct grid[]){__VA_ARGS__}, \
		    sizeof((struct grid[]){__VA_ARGS__}) / sizeof(struct grid))

/* debounce, max_delay, min_interval, retry_min, retry_max, late, unit, origin */
START_TEST(p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_without_a_debounce)
{
	EXPLORE({0, 0, 0, 0, 0, 0, 1, SOON}, {0, 0, 3, 1, 4, 0, 1, SOON},
		{0, 0, 2, 2, 2, 2, 1, SOON}, {0, 3, 1, 1, 3, 1, 1, SOON});
}
END_TEST

START_TEST(p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_with_a_debounce)
{
	EXPLORE({1, 1, 0, 0, 0, 0, 1, SOON}, {1, 3, 2, 1, 4, 0, 1, SOON},
		{4, 4, 0, 2, 8, 0, 1, SOON}, {4, 9, 3, 1, 4, 0, 1, SOON},
		{4, 13, 4, 0, 0, 0, 1, SOON});
}
END_TEST

START_TEST(p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_when_the_loop_is_late)
{
	EXPLORE({1, 3, 2, 1, 2, 2, 1, SOON}, {4, 6, 2, 1, 2, 1, 1, SOON});
}
END_TEST

START_TEST(p8_nothing_wraps_with_the_longest_settings_after_a_century)
{
	EXPLORE({4, 10, 3, 1, 4, 0, NINE_YEARS, LATE_IN_TIME});
}
END_TEST

SUITE("gate_states", p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_without_a_debounce,
      p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_with_a_debounce,
      p1_p2_p3_p4_p5_p8_p15_hold_in_every_state_when_the_loop_is_late,
      p8_nothing_wraps_with_the_longest_settings_after_a_century)
