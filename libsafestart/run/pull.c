/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pull: each callback becomes a letter to the application; `prepare` and `restart` then answer
 * SAFESTART_LATER. Called where callbacks are: worker, and `log` on any thread; no lock held. What
 * becomes of a letter when its run ends first is in step.c. [P24] */
#include "run/pull.h"

#include <errno.h>

#include "base/invariant.h"
#include "run/run.h"

/* Under the handle's lock, so that a deadline or a shutdown comes either before, and it is not
 * asked any more, or after, and takes the letter back. [P14] */
static int ask(struct safestart_run *run, enum safestart_event_kind kind)
{
	struct safestart *ss = run->ss;

	pthread_mutex_lock(&ss->lock);
	bool go = !run_gave_up(run);
	if (go) {
		run->call.kind = (uint8_t)kind;
		run->call.value = (uintptr_t)run;
		mailbox_put(ss->mailbox, &run->call);
	}
	pthread_mutex_unlock(&ss->lock);
	return go ? SAFESTART_LATER : -ECANCELED;
}

static int pull_prepare(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return ask(run, SAFESTART_EVENT_PREPARE);
}

static int pull_restart(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return ask(run, SAFESTART_EVENT_RESTART);
}

/* It outlives the run, which gives it away. */
static void give(struct safestart_run *run, enum safestart_event_kind kind, uint64_t value)
{
	struct letter *letter = run->spare;

	invariant(letter != NULL);
	run->spare = NULL;
	letter->kind = (uint8_t)kind;
	letter->value = value;
	letter->given = true;
	mailbox_put(run->ss->mailbox, letter);
}

static void pull_committed(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	give(run, SAFESTART_EVENT_COMMITTED, run->number);
}

void pull_retire_stray(struct safestart_run *run)
{
	invariant(!run->committed);
	give(run, SAFESTART_EVENT_RETIRE, run->stray);
}

static void pull_log(int level, const char *message, void *user_data)
{
	const struct safestart *ss = user_data;

	mailbox_put_log(ss->mailbox, level, message);
}

static void pull_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	const struct safestart *ss = user_data;

	mailbox_put_outcome(ss->mailbox, outcome);
}

/* What is retired goes the shorter way: snapshot_retire(). */
void pull_take_callbacks(struct safestart *ss)
{
	ss->conf->callbacks.prepare = pull_prepare;
	ss->conf->callbacks.restart = pull_restart;
	ss->conf->callbacks.committed = pull_committed;
	ss->conf->callbacks.log = pull_log;
	ss->conf->callbacks.outcome = pull_outcome;
	ss->conf->user_data = ss;
}
