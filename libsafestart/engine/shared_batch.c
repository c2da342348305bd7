/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* shared_batch: the handle's side of lock_share: asks lock/share what to do, does it with the
 * lock's file, and tells process_lock what came of it. Dispatching thread; nothing waits, and
 * nothing is logged while LOCK_STATE is held. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/message.h"
#include "engine/process_lock.h"
#include "run/run.h"

#define STATE_TIMEOUT_NS INT64_C(1000000000)

/* 0: not known, for /proc may be missing. Times that make no sense are noticed without it, too. */
static uint64_t boot_hash(void)
{
	char text[40];
	ssize_t length = -1;

	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, sizeof(text));
		close(fd);
	}
	return length > 0 ? share_hash(text, (size_t)length) : 0;
}

struct shared {
	struct share_open open;
	struct share_done done;
};

/* What cannot be read counts as not there: the worst that comes of it is one more run. */
static void look(const struct process_lock *lock, struct shared *shared)
{
	char open[SHARE_OPEN_SIZE] = "", done[SHARE_DONE_SIZE] = "";

	(void)lock_file_read(&lock->file, LOCK_OPEN, open, sizeof(open));
	(void)lock_file_read(&lock->file, LOCK_DONE, done, sizeof(done));
	share_read_open(&shared->open, open);
	share_read_done(&shared->done, done);
}

/* By the time after it was read: what another process has written meanwhile must not seem to come
 * from the future. */
static struct share_verdict decide(const struct safestart *ss, const struct shared *shared)
{
	const struct gate_conf *gate = &handle_settings(ss)->gate;
	const struct share_conf conf = {.debounce = gate->debounce,
					.max_delay = gate->max_delay,
					.min_interval = gate->min_interval};

	return share_decide(&shared->open, &shared->done, &ss->engine.process_lock.me, &conf,
			    loop_now());
}

/* LOCK_STATE is held. First the file, then the door: requests that cannot be written stay in the
 * door, and none is lost. [P2] */
static int enter_shared(struct safestart *ss, struct shared *shared)
{
	struct process_lock *lock = &ss->engine.process_lock;
	char bytes[SHARE_OPEN_SIZE];
	int64_t now = loop_now();
	uint64_t requests;

	request_issued(&ss->door, &requests);
	bool again = lock->me.sequence != 0 && lock->me.id == shared->open.id &&
		     lock->me.sequence == shared->open.sequence;
	if (!again) /* the first time, or the state we were in is gone */
		requests += lock->batch.requests;
	uint64_t fresh = share_hash((const char *)(uint64_t[]){(uint64_t)now, (uint64_t)getpid(),
							       engine_random(ss)},
				    3 * sizeof(uint64_t)) |
			 1;
	struct share_me me = lock->me;
	share_enter(&shared->open, &shared->done, &me, requests,
		    lock->urgent || (lock->batch.flags & REQUEST_URGENT) != 0, now, fresh);
	share_print_open(&shared->open, bytes);
	int error = lock_file_write(&lock->file, LOCK_OPEN, bytes, sizeof(bytes));
	if (error < 0)
		return error;
	invariant(me.sequence != 0 && me.id == shared->open.id);
	lock->me = me;
	process_lock_take_more(ss);
	lock->asked = false;
	return 0;
}

static enum process_lock_verdict leave_shared(struct safestart *ss,
					      const struct share_outcome *outcome)
{
	struct process_lock *lock = &ss->engine.process_lock;

	invariant(outcome != NULL && outcome->sequence != 0 && !lock->covered);
	lock->me.seen = outcome->sequence;
	lock->covered = true;
	lock->since = lock->retry_at = 0;
	lock->failures = outcome->verdict >= SAFESTART_FAILED ? lock->failures + 1 : 0;
	lock->end = (struct safestart_outcome){.requests = outcome->requests,
					       .attempts = lock->failures,
					       .verdict = outcome->verdict,
					       .error = outcome->error,
					       .status = outcome->status,
					       .pid = outcome->pid};
	message_copy(lock->end.message, sizeof(lock->end.message), outcome->message);
	process_lock_show(ss, PROCESS_LOCK_FREE, 0, "");
	return PROCESS_LOCK_ENDED;
}

/* Look now and then, for an urgent request of another process may end the window; at its end a
 * little apart, so that one process leads and the others find that it does. */
static enum process_lock_verdict wait_for_window(struct safestart *ss, int64_t at, int64_t now)
{
	int64_t spread = (at - now) / 8;

	if (ss->engine.process_lock.since != 0)
		process_lock_show(ss, PROCESS_LOCK_FREE, 0, "");
	ss->engine.process_lock.since = 0;
	if (at - now > PROCESS_LOCK_PAUSE_MAX_NS)
		return process_lock_come_again(ss, now + process_lock_pause(ss, INT64_MAX));
	return process_lock_come_again(ss,
				       at + (int64_t)((double)spread *
						      ((double)engine_random(ss) / UINT32_MAX)));
}

/* Outcomes cannot be shared: then each process runs for itself, one after the other. [P1] */
static enum process_lock_verdict go_alone(struct safestart *ss, int error, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;

	if (!lock->warned)
		log_line(&ss->log, LOG_WARNING,
			 "cannot write the lock file (%s): runs still exclude each other, but each "
			 "process makes its own; make room, or move the lock (lock=%s)",
			 safestart_strerror(error), handle_settings(ss)->lock);
	lock->warned = true;
	return process_lock_ask_alone(ss, now);
}

/* LOCK_STATE and LOCK_RUN are held. */
static enum process_lock_verdict lead(struct safestart *ss, struct shared *shared, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	char bytes[SHARE_OPEN_SIZE];

	uint64_t closed = share_close(&shared->open, &shared->done, &lock->total);
	invariant(closed != 0 && shared->open.sequence > closed);
	share_print_open(&shared->open, bytes);
	/* Written before anything of the run begins: what enters later is not covered. [P2] If it
	 * cannot be written, other processes may still enter this batch, and must not leave it with
	 * the outcome of this run. */
	if (lock_file_write(&lock->file, LOCK_OPEN, bytes, sizeof(bytes)) == 0)
		lock->closed = closed;
	return process_lock_begin(ss, now);
}

/* What comes of a look at the state that changes it. Only what needs LOCK_STATE is done while it is
 * held: the rest logs. */
struct changed {
	enum {
		CHANGED_DECIDED,
		CHANGED_BUSY,
		CHANGED_ALONE,
		CHANGED_FAILED
	} how;
	enum process_lock_verdict verdict; /* DECIDED */
	int error;                         /* ALONE, FAILED */
};

/* LOCK_STATE is held, and LOCK_RUN may be free: the run that held it may have ended since. */
static struct changed try_to_lead(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	struct shared shared;

	int error = process_lock_take_run(lock);
	if (error < 0)
		return (struct changed){.how = error == -EAGAIN ? CHANGED_BUSY : CHANGED_FAILED,
					.error = error};
	look(lock, &shared);
	struct share_verdict verdict = decide(ss, &shared);
	if (verdict.action == SHARE_LEAD)
		return (struct changed){.verdict = lead(ss, &shared, now)};
	if (lock->held == 0)
		lock_file_release(&lock->file, LOCK_RUN);
	/* Otherwise a process writes the file without holding the lock: look again. */
	return (struct changed){
		.verdict = verdict.action == SHARE_LEAVE
				   ? leave_shared(ss, verdict.outcome)
				   : process_lock_come_again(ss, now + PROCESS_LOCK_PAUSE_MIN_NS)};
}

/* LOCK_STATE is held. */
static struct changed change(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	struct shared shared;

	look(lock, &shared);
	struct share_verdict verdict = decide(ss, &shared);
	bool in_open = lock->me.sequence != 0 && lock->me.id == shared.open.id &&
		       lock->me.sequence == shared.open.sequence;
	if (verdict.action == SHARE_ENTER ||
	    (lock->asked && in_open && verdict.action != SHARE_LEAVE)) {
		int error = enter_shared(ss, &shared);
		if (error < 0)
			return (struct changed){.how = CHANGED_ALONE, .error = error};
		verdict = decide(ss, &shared);
	}
	lock->left = lock->left || lock->asked;
	lock->asked = false;
	switch (verdict.action) {
	case SHARE_LEAVE: return (struct changed){.verdict = leave_shared(ss, verdict.outcome)};
	case SHARE_WAIT: return (struct changed){.verdict = wait_for_window(ss, verdict.at, now)};
	case SHARE_LEAD: return try_to_lead(ss, now);
	case SHARE_ENTER: break; /* cannot be: it has just entered */
	}
	return (struct changed){
		.verdict = process_lock_come_again(ss, now + PROCESS_LOCK_PAUSE_MIN_NS)};
}

static enum process_lock_verdict change_shared(struct safestart *ss, int64_t now)
{
	int64_t timeout = handle_settings(ss)->lock_timeout;

	int error = lock_file_try(&ss->engine.process_lock.file, LOCK_STATE);
	/* It is held for microseconds, unless its holder is stopped: lock_timeout=0 does not mean
	 * these. */
	if (error == -EAGAIN)
		return process_lock_busy(ss, now,
					 timeout > STATE_TIMEOUT_NS ? timeout : STATE_TIMEOUT_NS);
	if (error < 0)
		return process_lock_fail(ss, error, safestart_strerror(error));
	struct changed changed = change(ss, now);
	lock_file_release(&ss->engine.process_lock.file, LOCK_STATE);
	switch (changed.how) {
	case CHANGED_BUSY: return process_lock_busy(ss, now, timeout);
	case CHANGED_ALONE: return go_alone(ss, changed.error, now);
	case CHANGED_FAILED:
		return process_lock_fail(ss, changed.error, safestart_strerror(changed.error));
	case CHANGED_DECIDED: break;
	}
	return changed.verdict;
}

enum process_lock_verdict process_lock_ask_shared(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	struct shared shared;
	uint64_t waiting;

	int error = lock_file_allocate(&lock->file);
	if (error < 0)
		return go_alone(ss, error, now);
	lock->warned = false;
	lock->me.boot = lock->me.boot != 0 ? lock->me.boot : boot_hash();
	request_issued(&ss->door, &waiting);
	lock->me.retries = !lock->taken && waiting == 0;
	/* Most looks change nothing, and need no lock: what is half written has the wrong checksum.
	 */
	look(lock, &shared);
	struct share_verdict verdict = decide(ss, &shared);
	if (verdict.action == SHARE_LEAVE)
		return leave_shared(ss, verdict.outcome);
	if (verdict.action == SHARE_WAIT && !lock->asked)
		return wait_for_window(ss, verdict.at, now);
	if (verdict.action == SHARE_LEAD && !lock->asked && lock->held == 0 &&
	    !lock_file_is_free(&lock->file, LOCK_RUN))
		return process_lock_busy(ss, now, handle_settings(ss)->lock_timeout);
	return change_shared(ss, now);
}

void process_lock_publish(struct safestart_run *run)
{
	struct process_lock *lock = &run->ss->engine.process_lock;
	struct share_outcome outcome = {.sequence = run->shared,
					.requests = run->batch.requests,
					.verdict = run->outcome.verdict,
					.error = run->outcome.error,
					.status = run->outcome.status,
					.pid = getpid()};
	char bytes[SHARE_DONE_SIZE];
	struct shared shared;

	/* Only this handle is cancelled: the other processes still want the run, and one of them
	 * makes it. [P6] */
	if (run->shared == 0 || run->outcome.verdict == SAFESTART_CANCELLED)
		return;
	message_copy(outcome.message, sizeof(outcome.message), run->outcome.message);
	look(lock, &shared);
	share_publish(&shared.done, run->shared_id, &outcome, loop_now());
	share_print_done(&shared.done, bytes);
	int error = lock_file_write(&lock->file, LOCK_DONE, bytes, sizeof(bytes));
	lock->unwritten = error < 0 ? lock->unwritten + 1 : 0;
	if (error < 0)
		log_line(&run->ss->log, log_repeated(LOG_WARNING, lock->unwritten),
			 "cannot write the outcome to the lock file (%s): processes that wait for "
			 "it make runs of their own (lock=%s)",
			 safestart_strerror(error), handle_settings(run->ss)->lock);
	lock->me.seen = run->shared;
	run->shared = 0;
}
