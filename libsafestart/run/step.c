/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* step: how far a run has come, and the race between its finish, its deadline and shutdown. Every
 * change is made under the handle's lock, which is what makes it one step; run->bits may be read
 * without. */
#include <errno.h>

#include "base/invariant.h"
#include "base/message.h"
#include "run/run.h"

static uint32_t bits_of(const struct safestart_run *run)
{
	return atomic_load_explicit(&run->bits, memory_order_acquire);
}

/* One end of a phase excludes the others, but for a shutdown that comes after it was settled. What
 * is open is part of what still has to be finished. */
static bool holds_locked(const struct safestart_run *run)
{
	const struct run_part *part = &run->ss->run;
	uint32_t bits = bits_of(run);

	return !((bits & RUN_EXPIRED) && (bits & (RUN_CANCELLED | RUN_SETTLED))) &&
	       (!(bits & RUN_COMMITTED) || (bits & RUN_SETTLED)) &&
	       part->later_open <= part->later_owed && part->gathers_owed <= part->later_owed;
}

void step_set_locked(struct safestart_run *run, uint32_t bits)
{
	invariant(!(bits_of(run) & RUN_CALLED & bits)); /* finish counts once for each LATER */
	atomic_store_explicit(&run->bits, bits_of(run) | bits, memory_order_release);
}

bool step_is_parked(const struct safestart_run *run)
{
	return (bits_of(run) & (RUN_LATER | RUN_CALLED)) == RUN_LATER;
}

bool step_is_called(const struct safestart_run *run)
{
	return (bits_of(run) & RUN_CALLED) != 0;
}

/* A run that is parked ends now: by its finish, its deadline or a shutdown, whichever is first. */
static void leave_later_locked(struct safestart_run *run)
{
	if (!step_is_parked(run) || run_gave_up(run))
		return;
	invariant(run->ss->run.later_open > 0);
	run->ss->run.later_open--;
}

/* Finish was called, or need not be any more. */
static void end_call_locked(struct safestart_run *run, uint32_t bits)
{
	struct safestart *ss = run->ss;

	leave_later_locked(run);
	if (step_is_parked(run)) {
		invariant(ss->run.later_owed > 0);
		ss->run.later_owed--;
		ss->run.gathers_owed -= run->phase == RUN_GATHER;
	}
	step_set_locked(run, RUN_CALLED | bits);
	/* Neither letter may outlive it: close may come before anybody has taken the first. [P24]
	 */
	if (ss->mailbox != NULL) {
		mailbox_withdraw(ss->mailbox, &run->call);
		mailbox_withdraw(ss->mailbox, &run->cancelled);
	}
	invariant(holds_locked(run) && step_is_called(run));
	/* Under the lock, which close has to take: afterwards neither run nor ss need exist. */
	handle_wake(ss);
	pthread_cond_broadcast(&ss->changed);
}

/* events=pull: what was asked of the application is pointless now. What it has not taken nobody
 * will finish but us. [P14] [P23] */
static void tell_pointless_locked(struct safestart_run *run)
{
	struct mailbox *mailbox = run->ss->mailbox;

	if (mailbox == NULL || run->call.kind == 0 || step_is_called(run))
		return;
	run->untaken = mailbox_withdraw(mailbox, &run->call);
	if (run->untaken) {
		end_call_locked(run, 0);
		return;
	}
	run->cancelled.kind = SAFESTART_EVENT_CANCELLED;
	run->cancelled.value = (uintptr_t)run;
	mailbox_put(mailbox, &run->cancelled);
}

void step_abandon_locked(struct safestart_run *run)
{
	if (step_is_called(run) || run->phase == RUN_GATHER)
		return;
	invariant(run_gave_up(run)); /* nobody has finished it: it must not go on */
	end_call_locked(run, 0);
}

bool step_expire_locked(struct safestart_run *run, int64_t now)
{
	if (now < run->deadline || (bits_of(run) & (RUN_SETTLED | RUN_EXPIRED | RUN_CANCELLED)))
		return false;
	leave_later_locked(run);
	step_set_locked(run, RUN_EXPIRED);
	tell_pointless_locked(run);
	invariant(holds_locked(run) && run_gave_up(run));
	return true;
}

bool step_cancel_locked(struct safestart_run *run)
{
	if (bits_of(run) & (RUN_COMMITTED | RUN_EXPIRED | RUN_CANCELLED))
		return false;
	leave_later_locked(run);
	step_set_locked(run, RUN_CANCELLED);
	tell_pointless_locked(run);
	invariant(holds_locked(run) && run_gave_up(run));
	return true;
}

/* The clock decides, whether somebody has looked or not: with thread=no no other thread looks at
 * the deadline while a callback is inside. [P14] */
bool step_is_pointless(const struct safestart_run *run)
{
	return run_gave_up(run) ||
	       (!(bits_of(run) & RUN_SETTLED) && loop_now() >= atomic_load(&run->deadline));
}

/* Only a look: what the callback does with it is up to the callback. */
int safestart_run_cancelled(const struct safestart_run *run)
{
	return step_is_pointless(run);
}

void safestart_run_set_status(struct safestart_run *run, int status)
{
	atomic_store(&run->status, status);
}

/* From any thread, also before the callback has returned SAFESTART_LATER. Which of finish, deadline
 * and shutdown comes first is decided here, under the lock. [P14] */
static int finish(struct safestart_run *run, int error, const char *message)
{
	int64_t now = loop_now();

	if (run == NULL)
		return -EINVAL;
	struct safestart *ss = run->ss;
	pthread_mutex_lock(&ss->lock);
	invariant(holds_locked(run));
	/* A second finish from within the callback; after SAFESTART_LATER there is no run left that
	 * could notice. [P6] */
	if (step_is_called(run)) {
		pthread_mutex_unlock(&ss->lock);
		return -EALREADY;
	}
	/* Too late is too late even if the loop has not noticed yet. The loop answers for the
	 * expired. */
	step_expire_locked(run, now);
	bool late = run_gave_up(run);
	if (!late) {
		run->finish_error = error <= 0 ? error : -EINVAL;
		message_copy(run->finish_words, sizeof(run->finish_words),
			     message != NULL ? message : "");
	}
	/* A gather is followed by work the deadline still holds for; prepare and restart are
	 * settled by this. While the callback is still inside, the deadline stays: it may never
	 * return. [P14] */
	bool settled = !late && run->phase != RUN_GATHER && (bits_of(run) & RUN_LATER) != 0;
	end_call_locked(run, settled ? RUN_SETTLED : 0);
	pthread_mutex_unlock(&ss->lock);
	return late ? -ESTALE : 0;
}

int safestart_run_finish(struct safestart_run *run, int error)
{
	return finish(run, error, NULL);
}

int safestart_run_fail(struct safestart_run *run, int error, const char *message)
{
	return finish(run, error < 0 ? error : -EINVAL, message);
}

/* A phase begins. False: there is no point. */
bool step_begin(struct safestart_run *run, enum run_phase phase)
{
	struct safestart *ss = run->ss;

	pthread_mutex_lock(&ss->lock);
	/* A shutdown between commit and restart has left the run alone. */
	if (!run_gave_up(run) && request_is_shut(&ss->door))
		step_set_locked(run, RUN_CANCELLED);
	bool go = !run_gave_up(run);
	if (go) {
		/* A deadline of its own; the loop finds it when the old one comes. */
		if (phase == RUN_RESTART) {
			int64_t now = loop_now();
			if (run->deadline <= now)
				handle_wake(ss);
			run->deadline = now + handle_settings(ss)->run_timeout;
		}
		/* Phases come in their order; each begins with no bit of the one before. */
		invariant((int)phase >= atomic_load(&run->phase) && !step_is_parked(run));
		atomic_store_explicit(&run->phase, phase, memory_order_relaxed);
		atomic_store_explicit(&run->bits, 0, memory_order_release);
		run->finish_words[0] = '\0';
		run->call.kind = 0;
	}
	pthread_mutex_unlock(&ss->lock);
	return go;
}

/* The callback of a phase has returned. */
enum step_result step_returned(struct safestart_run *run, enum run_phase phase, int *result)
{
	struct safestart *ss = run->ss;
	enum step_result then = STEP_GO_ON;
	int64_t now = loop_now();

	pthread_mutex_lock(&ss->lock);
	uint32_t bits = bits_of(run);
	/* With thread=no no other thread could look at the deadline meanwhile. */
	if (step_expire_locked(run, now))
		bits = bits_of(run);
	if (*result == SAFESTART_LATER && !(bits & RUN_CALLED)) {
		step_set_locked(run, RUN_LATER);
		ss->run.later_owed++;
		ss->run.gathers_owed += phase == RUN_GATHER;
		ss->run.later_open += !run_gave_up(run);
		then = STEP_PARK;
	} else if (bits & (RUN_EXPIRED | RUN_CANCELLED)) {
		then = STEP_GIVE_UP;
	} else {
		if (*result == SAFESTART_LATER)
			*result = run->finish_error;
		else
			run->finish_words[0] = '\0'; /* what it returned counts */
		if (phase != RUN_GATHER)
			step_set_locked(run, RUN_SETTLED);
	}
	invariant(holds_locked(run));
	pthread_mutex_unlock(&ss->lock);
	if (*result > 0 && then == STEP_GO_ON)
		*result = -EINVAL; /* a forgotten minus must not pass for success */
	return then;
}

/* The outcome is known. False: too late, the deadline or the shutdown has answered. [P6] */
bool step_settle(struct safestart_run *run)
{
	int64_t now = loop_now();

	pthread_mutex_lock(&run->ss->lock);
	step_expire_locked(run, now);
	bool in_time = !run_gave_up(run);
	if (in_time)
		step_set_locked(run, RUN_SETTLED);
	invariant(holds_locked(run));
	pthread_mutex_unlock(&run->ss->lock);
	return in_time;
}
