/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate, driven by a hundred thousand random steps. */
#include "gate.h"

#include "support.h"

#define MS INT64_C(1000000)

/* ---- A hundred thousand random steps against a model of what was promised ---- */

struct model {
	struct gate_conf conf;
	struct gate gate;
	uint64_t random;
	int64_t now, request_at, end_at, wake_at; /* when the next one of each happens */
	/* The door's side: what the gate was told, and what it was not. */
	bool heard_only_when_looking, unheard, unheard_urgent;
	/* What is promised follows from these. */
	bool running, window, urgent;
	int64_t first, newest, last_end, due;
	uint64_t windows, runs;
};

static uint64_t next_random(struct model *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random;
}

static int64_t up_to(struct model *m, int64_t most)
{
	return (int64_t)(next_random(m) % (uint64_t)(most + 1));
}

static int64_t latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void check_start(const struct model *m)
{
	const struct gate_conf *c = &m->conf;
	int64_t floor = m->last_end == INT64_MIN ? INT64_MIN : m->last_end + c->min_interval;
	bool by_due = m->due <= m->now;

	ck_assert_msg(!m->running, "P1: two at a time");
	ck_assert_msg(m->now >= floor, "P4: min_interval");
	ck_assert_msg(m->window || by_due, "a run for nothing");
	if (!m->window)
		return;
	if (!by_due && !m->urgent)
		ck_assert_msg(m->now >= m->newest + c->debounce || m->now >= m->first + c->max_delay, "P4: not quiet yet");
	ck_assert_msg(m->now <= latest(m->first + c->max_delay, floor), "P4: later than max_delay");
	ck_assert_msg(m->now <= latest(m->newest + c->debounce + c->debounce / 4 + 1, floor), "P4: a quarter late");
	if (m->urgent)
		ck_assert_msg(m->now <= latest(m->newest, floor), "urgent waited");
}

static void model_start(struct model *m)
{
	check_start(m);
	m->runs++;
	m->running = true;
	m->window = m->urgent = false;
	m->due = GATE_NEVER;
	m->end_at = m->now + up_to(m, m->conf.max_delay * 2);
}

/* What the loop does when it wakes. */
static void model_look(struct model *m)
{
	if (m->unheard)
		gate_request(&m->gate, m->now, m->unheard_urgent);
	m->unheard = m->unheard_urgent = false;
	struct gate_verdict verdict = gate_tick(&m->gate, m->now);
	if (verdict.start) {
		model_start(m);
		verdict = gate_tick(&m->gate, m->now);
	}
	ck_assert_msg(!verdict.start, "P1: two at once");
	ck_assert_int_gt(verdict.wake_at, m->now);
	if (m->window && !m->running)
		ck_assert_msg(verdict.wake_at != GATE_NEVER, "P3: a request that is waited for by nobody");
	if (m->due != GATE_NEVER && !m->running)
		ck_assert_msg(gate_next_start(&m->gate) != GATE_NEVER, "P15: a retry that is forgotten");
	m->heard_only_when_looking = verdict.deaf;
	m->wake_at = verdict.wake_at;
}

static void model_request(struct model *m)
{
	bool urgent = up_to(m, 20) == 0;

	if (!m->window) {
		m->first = m->now;
		m->windows++;
	}
	m->window = true;
	/* The first urgent one of a window counts. */
	if (!m->urgent)
		m->newest = m->now;
	m->urgent = m->urgent || urgent;
	m->unheard = true;
	m->unheard_urgent = m->unheard_urgent || urgent;
	m->request_at = m->now + (up_to(m, 3) == 0 ? up_to(m, m->conf.max_delay * 4) : up_to(m, m->conf.debounce));
	if (!m->heard_only_when_looking || urgent)
		model_look(m);
}

static void model_end(struct model *m)
{
	m->running = false;
	m->last_end = m->now;
	m->end_at = GATE_NEVER;
	int64_t pause = gate_ended(&m->gate, m->now, up_to(m, 2) == 0, (uint32_t)next_random(m));
	if (pause != GATE_NEVER) {
		ck_assert_int_ge(pause, m->conf.retry_min / 2);
		ck_assert_int_le(pause, m->conf.retry_max);
		m->due = m->now + pause < m->due ? m->now + pause : m->due;
	}
	if (up_to(m, 9) == 0) {
		int64_t at = m->now + up_to(m, m->conf.max_delay * 3);
		gate_due(&m->gate, at);
		m->due = at < m->due ? at : m->due;
	}
	model_look(m);
}

static void model_begin(struct model *m)
{
	static const int64_t some[] = {0, 1, 3, 4, 5, 100, 1000, 1001};
	uint64_t random = m->random;

	*m = (struct model){.random = random, .end_at = GATE_NEVER, .wake_at = GATE_NEVER, .due = GATE_NEVER, .last_end = INT64_MIN};
	m->conf.debounce = some[up_to(m, 7)];
	m->conf.max_delay = m->conf.debounce + up_to(m, 3) * m->conf.debounce + up_to(m, 2);
	m->conf.min_interval = some[up_to(m, 7)];
	m->conf.retry_min = some[up_to(m, 7)];
	m->conf.retry_max = m->conf.retry_min * 8;
	gate_init(&m->gate, &m->conf);
}

START_TEST(p1_p3_p4_hold_over_a_hundred_thousand_random_steps)
{
	struct model m = {.random = 88172645463325252u};

	for (int scenario = 0; scenario < 500; scenario++) {
		model_begin(&m);
		for (int step = 0; step < 200; step++) {
			int64_t next = m.request_at < m.end_at ? m.request_at : m.end_at;
			m.now = next < m.wake_at ? next : m.wake_at;
			if (m.wake_at == m.now)
				model_look(&m);
			else if (m.end_at == m.now)
				model_end(&m);
			else
				model_request(&m);
		}
		ck_assert_uint_gt(m.runs, 0);
	}
}
END_TEST

SUITE("gate_model", p1_p3_p4_hold_over_a_hundred_thousand_random_steps)
