/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* exclusive: the handle's side of the lock between processes (lock, lock_timeout, lock_share): may the run that is due begin?
 * Nothing waits here: the dispatching thread comes again by its timer, with jitter. The lock is held until the run's
 * last callback has returned or, after LATER, was finished: also past its deadline, for it is still doing something. [P1] */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "run.h"
#include "why.h"

#define PAUSE_MIN_NS INT64_C(2000000)
#define PAUSE_MAX_NS INT64_C(200000000)
#define STATE_TIMEOUT_NS INT64_C(1000000000)

static const char *lock_path(const struct safestart *ss)
{
	return handle_settings(ss)->lock;
}

/* /proc may be missing: times that make no sense are noticed without it, too. */
static uint64_t boot_hash(void)
{
	char text[40];
	ssize_t length = -1;

	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, sizeof(text));
		close(fd);
	}
	return share_hash(text, length > 0 ? (size_t)length : 0);
}

void exclusive_init(struct safestart *ss)
{
	struct lock_file file = ss->exclusive.file;

	ss->exclusive = (struct exclusive){.file = file};
	ss->lock_picture = (struct exclusive_picture){.state = EXCLUSIVE_FREE};
}

static void show(struct safestart *ss, enum exclusive_state state, int64_t since, const char *holder)
{
	pthread_mutex_lock(&ss->lock);
	ss->lock_picture.state = state;
	ss->lock_picture.since = since;
	why_copy(ss->lock_picture.holder, sizeof(ss->lock_picture.holder), holder);
	pthread_mutex_unlock(&ss->lock);
}

/* ---- What can come of it ---- */

static enum exclusive_verdict come_again(struct safestart *ss, int64_t at)
{
	ss->exclusive.retry_at = at;
	return EXCLUSIVE_WAIT;
}

/* In proportion to what was waited already, so that nobody waits much longer than the lock is held, and a crowd does not spin. */
static int64_t pause_after(struct safestart *ss, int64_t waited)
{
	int64_t pause = waited / 8 < PAUSE_MIN_NS ? PAUSE_MIN_NS : waited / 8 > PAUSE_MAX_NS ? PAUSE_MAX_NS : waited / 8;

	return pause / 2 + (int64_t)((double)pause / 2 * ((double)handle_random(ss) / UINT32_MAX));
}

static enum exclusive_verdict give_up(struct safestart *ss, int verdict, int error)
{
	struct exclusive *ex = &ss->exclusive;

	ex->since = 0;
	ex->end.verdict = verdict;
	ex->end.error = error;
	ex->end.attempts = ++ex->failures;
	show(ss, EXCLUSIVE_FREE, 0, "");
	return EXCLUSIVE_ENDED;
}

/* Where there are nodes, what of them. */
static const char *say_serving(const struct safestart *ss, char *text, size_t size)
{
	why_copy(text, size, "");
	if (ss->source.kind != SOURCE_NONE)
		why_say(text, size, 0, "; generation %llu goes on serving", (unsigned long long)safestart_generation(ss));
	return text;
}

static enum exclusive_verdict fail(struct safestart *ss, int error, const char *why)
{
	char more[64];

	why_say(ss->exclusive.end.message, sizeof(ss->exclusive.end.message), 0, "the lock %.60s can't be used: %s%s", lock_path(ss), why, say_serving(ss, more, sizeof(more)));
	return give_up(ss, SAFESTART_FAILED, error);
}

/* Somebody else has it. */
static enum exclusive_verdict busy(struct safestart *ss, int64_t now, int64_t timeout)
{
	struct exclusive *ex = &ss->exclusive;
	char holder[LOCK_HOLDER_SIZE], since[48] = "";

	int64_t held = lock_file_holder(&ex->file, now, holder, sizeof(holder));
	if (held > 0)
		why_say(since, sizeof(since), 0, " for %s", why_duration(held).text);
	if (ex->since == 0) {
		ex->since = now;
		ex->said = false;
	}
	if (now - ex->since >= timeout) {
		char more[64];
		why_say(ex->end.message, sizeof(ex->end.message), 0, "timed out: the lock %.80s was not free within lock_timeout (%s): held by %s%s%s",
			lock_path(ss), why_duration(timeout).text, holder, since, say_serving(ss, more, sizeof(more)));
		return give_up(ss, SAFESTART_TIMED_OUT, -EBUSY);
	}
	show(ss, EXCLUSIVE_WAITING, ex->since, holder);
	if (!ex->said && now - ex->since >= timeout / 4) {
		ex->said = true;
		/* The same thing again every 30 s hides what matters. */
		handle_log(ss, (ex->failures & (ex->failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG, "a run has been waiting for the lock %s for %s: held by %s%s; given up after lock_timeout (%s)", lock_path(ss),
			   why_duration(now - ex->since).text, holder, since, why_duration(timeout).text);
	}
	int64_t at = now + pause_after(ss, now - ex->since);
	return come_again(ss, at - ex->since > timeout ? ex->since + timeout : at);
}

static enum exclusive_verdict begin(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;

	ex->since = ex->retry_at = 0;
	ex->failures = 0;
	if (ex->held++ == 0) {
		lock_file_sign(&ex->file, handle_settings(ss)->name, true, now);
		show(ss, EXCLUSIVE_HELD, now, "");
	}
	return EXCLUSIVE_BEGIN;
}

/* LOCK_RUN of the file that the path names: 0, -EAGAIN or -errno. A run of ours that is not over yet has it already. */
static int take_run(struct exclusive *ex)
{
	int error = ex->held > 0 ? 0 : lock_file_try(&ex->file, LOCK_RUN);

	if (error == 0 && ex->held == 0 && !lock_file_is_current(&ex->file)) {
		lock_file_release(&ex->file, LOCK_RUN);
		error = -EAGAIN;
	}
	return error;
}

static enum exclusive_verdict ask_alone(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	int64_t min_interval = handle_settings(ss)->lock_share ? handle_settings(ss)->gate.min_interval : 0; /* else the gate keeps it */

	if (min_interval > 0 && ex->ended != 0 && now - ex->ended < min_interval)
		return come_again(ss, ex->ended + min_interval);
	int error = take_run(ex);
	if (error == -EAGAIN)
		return busy(ss, now, handle_settings(ss)->lock_timeout);
	return error < 0 ? fail(ss, error, safestart_strerror(error)) : begin(ss, now);
}

/* ---- lock_share ---- */

struct shared {
	struct share_open open;
	struct share_done done;
};

/* What can't be read is not there. */
static void look(const struct exclusive *ex, struct shared *shared)
{
	char open[SHARE_OPEN_SIZE] = "", done[SHARE_DONE_SIZE] = "";

	(void)lock_file_read(&ex->file, LOCK_OPEN, open, sizeof(open));
	(void)lock_file_read(&ex->file, LOCK_DONE, done, sizeof(done));
	share_read_open(&shared->open, open);
	share_read_done(&shared->done, done);
}

static struct share_verdict decide(const struct safestart *ss, const struct shared *shared, int64_t now)
{
	const struct gate_conf *gate = &handle_settings(ss)->gate;
	const struct share_conf conf = {.debounce = gate->debounce, .max_delay = gate->max_delay, .min_interval = gate->min_interval};

	return share_decide(&shared->open, &shared->done, &ss->exclusive.me, &conf, now);
}

/* More requests out of the door, into what was taken out before. */
static void take_more(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;
	struct request_batch more = {0};

	bool any = request_close(&ss->door, &more);
	if (!any && ex->taken)
		return;
	ex->batch.ticket = more.ticket;
	ex->batch.requests += more.requests;
	ex->batch.flags |= more.flags;
	if (ex->batch.reason[0] == '\0')
		memcpy(ex->batch.reason, more.reason, sizeof(more.reason));
	ex->taken = true;
	pthread_mutex_lock(&ss->lock);
	ss->figures.requests += more.requests;
	pthread_mutex_unlock(&ss->lock);
}

/* LOCK_STATE is held. First the file, then the door: what can't be written stays where it is. */
static int enter_shared(struct safestart *ss, struct shared *shared, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	char bytes[SHARE_OPEN_SIZE];
	uint64_t requests;

	request_issued(&ss->door, &requests);
	bool again = ex->me.sequence != 0 && ex->me.id == shared->open.id && ex->me.sequence == shared->open.sequence;
	if (!again) /* the first time, or the state we were in is gone */
		requests += ex->batch.requests;
	ex->me.boot = ex->me.boot != 0 ? ex->me.boot : boot_hash();
	uint64_t fresh = share_hash((const char *)(uint64_t[]){(uint64_t)now, (uint64_t)getpid(), handle_random(ss)}, 3 * sizeof(uint64_t)) | 1;
	struct share_me me = ex->me;
	share_enter(&shared->open, &shared->done, &me, requests, ex->urgent || (ex->batch.flags & REQUEST_URGENT) != 0, now, fresh);
	share_print_open(&shared->open, bytes);
	int error = lock_file_write(&ex->file, LOCK_OPEN, bytes, sizeof(bytes));
	if (error < 0)
		return error;
	ex->me = me;
	take_more(ss);
	ex->asked = false;
	return 0;
}

static enum exclusive_verdict leave_shared(struct safestart *ss, const struct share_outcome *outcome)
{
	struct exclusive *ex = &ss->exclusive;

	ex->me.seen = outcome->sequence;
	ex->covered = true;
	ex->since = ex->retry_at = 0;
	ex->failures = outcome->verdict >= SAFESTART_FAILED ? ex->failures + 1 : 0;
	ex->end = (struct safestart_outcome){.requests = outcome->requests, .attempts = ex->failures, .verdict = outcome->verdict, .error = outcome->error,
					     .status = outcome->status, .pid = outcome->pid};
	why_copy(ex->end.message, sizeof(ex->end.message), outcome->message);
	show(ss, EXCLUSIVE_FREE, 0, "");
	return EXCLUSIVE_ENDED;
}

/* Looking now and then, for somebody in more of a hurry may end the window; at its end a little apart: who comes first leads. */
static enum exclusive_verdict wait_for_window(struct safestart *ss, int64_t at, int64_t now)
{
	int64_t spread = (at - now) / 8;

	if (ss->exclusive.since != 0)
		show(ss, EXCLUSIVE_FREE, 0, "");
	ss->exclusive.since = 0;
	if (at - now > PAUSE_MAX_NS)
		return come_again(ss, now + pause_after(ss, INT64_MAX));
	return come_again(ss, at + (int64_t)((double)spread * ((double)handle_random(ss) / UINT32_MAX)));
}

/* Outcomes can't be shared: then each process runs for itself, one after the other. */
static enum exclusive_verdict go_alone(struct safestart *ss, int error, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;

	if (!ex->warned)
		handle_log(ss, LOG_WARNING, "the lock %s can't be written (%s): runs stay exclusive, but each process makes its own; make room, or name a lock elsewhere", lock_path(ss),
			   safestart_strerror(error));
	ex->warned = true;
	return ask_alone(ss, now);
}

/* LOCK_STATE and LOCK_RUN are held. */
static enum exclusive_verdict lead(struct safestart *ss, struct shared *shared, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	char bytes[SHARE_OPEN_SIZE];

	uint64_t closed = share_close(&shared->open, &shared->done, &ex->total);
	share_print_open(&shared->open, bytes);
	/* Written before anything of the run begins; if it can't be, others may still enter, and must not leave with what comes. */
	if (lock_file_write(&ex->file, LOCK_OPEN, bytes, sizeof(bytes)) == 0)
		ex->closed = closed;
	return begin(ss, now);
}

/* What comes of a look at the state that changes it. Only what needs LOCK_STATE is done while it is held: the rest logs. */
struct changed {
	enum {CHANGED_DECIDED, CHANGED_BUSY, CHANGED_ALONE, CHANGED_FAILED} how;
	enum exclusive_verdict verdict; /* DECIDED */
	int error;                      /* ALONE, FAILED */
};

/* LOCK_STATE is held, and LOCK_RUN may be had: whoever had it may have ended since. */
static struct changed try_to_lead(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	struct shared shared;

	int error = take_run(ex);
	if (error < 0)
		return (struct changed){.how = error == -EAGAIN ? CHANGED_BUSY : CHANGED_FAILED, .error = error};
	look(ex, &shared);
	struct share_verdict verdict = decide(ss, &shared, now);
	if (verdict.action == SHARE_LEAD)
		return (struct changed){.verdict = lead(ss, &shared, now)};
	if (ex->held == 0)
		lock_file_release(&ex->file, LOCK_RUN);
	/* Else somebody writes it who holds no lock. */
	return (struct changed){.verdict = verdict.action == SHARE_LEAVE ? leave_shared(ss, verdict.outcome) : come_again(ss, now + PAUSE_MIN_NS)};
}

/* LOCK_STATE is held. */
static struct changed change(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	struct shared shared;

	look(ex, &shared);
	struct share_verdict verdict = decide(ss, &shared, now);
	bool in_open = ex->me.sequence != 0 && ex->me.id == shared.open.id && ex->me.sequence == shared.open.sequence;
	if (verdict.action == SHARE_ENTER || (ex->asked && in_open && verdict.action != SHARE_LEAVE)) {
		int error = enter_shared(ss, &shared, now);
		if (error < 0)
			return (struct changed){.how = CHANGED_ALONE, .error = error};
		verdict = decide(ss, &shared, now);
	}
	ex->left = ex->left || ex->asked;
	ex->asked = false;
	switch (verdict.action) {
	case SHARE_LEAVE: return (struct changed){.verdict = leave_shared(ss, verdict.outcome)};
	case SHARE_WAIT: return (struct changed){.verdict = wait_for_window(ss, verdict.at, now)};
	case SHARE_LEAD: return try_to_lead(ss, now);
	case SHARE_ENTER: break; /* cannot be: it has just entered */
	}
	return (struct changed){.verdict = come_again(ss, now + PAUSE_MIN_NS)};
}

static enum exclusive_verdict change_shared(struct safestart *ss, int64_t now)
{
	int64_t timeout = handle_settings(ss)->lock_timeout;

	int error = lock_file_try(&ss->exclusive.file, LOCK_STATE);
	if (error < 0) /* it is held for microseconds, unless somebody is stopped: lock_timeout=0 does not mean these */
		return error != -EAGAIN ? fail(ss, error, safestart_strerror(error)) : busy(ss, now, timeout > STATE_TIMEOUT_NS ? timeout : STATE_TIMEOUT_NS);
	struct changed changed = change(ss, now);
	lock_file_release(&ss->exclusive.file, LOCK_STATE);
	switch (changed.how) {
	case CHANGED_BUSY: return busy(ss, now, timeout);
	case CHANGED_ALONE: return go_alone(ss, changed.error, now);
	case CHANGED_FAILED: return fail(ss, changed.error, safestart_strerror(changed.error));
	case CHANGED_DECIDED: break;
	}
	return changed.verdict;
}

static enum exclusive_verdict ask_shared(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	struct shared shared;
	uint64_t waiting;

	int error = lock_file_allocate(&ex->file);
	if (error < 0)
		return go_alone(ss, error, now);
	ex->warned = false;
	request_issued(&ss->door, &waiting);
	ex->me.retries = !ex->taken && waiting == 0;
	/* Most looks change nothing, and need no lock: what is half written has the wrong checksum. */
	look(ex, &shared);
	struct share_verdict verdict = decide(ss, &shared, now);
	if (verdict.action == SHARE_LEAVE)
		return leave_shared(ss, verdict.outcome);
	if (verdict.action == SHARE_WAIT && !ex->asked)
		return wait_for_window(ss, verdict.at, now);
	if (verdict.action == SHARE_LEAD && !ex->asked && ex->held == 0 && !lock_file_is_free(&ex->file, LOCK_RUN))
		return busy(ss, now, handle_settings(ss)->lock_timeout);
	return change_shared(ss, now);
}

/* ---- For dispatch and answer ---- */

void exclusive_greet(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;
	char why[256];

	if (ex->greeted || lock_path(ss) == NULL)
		return;
	ex->greeted = true;
	if (lock_file_ready(&ex->file, why, sizeof(why)) < 0)
		handle_log(ss, LOG_WARNING, "the lock %s can't be used: %s; until it can, every run fails", lock_path(ss), why);
}

enum exclusive_verdict exclusive_ask(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	const struct settings *settings = handle_settings(ss);
	char why[256];

	if (settings->lock == NULL)
		return EXCLUSIVE_BEGIN;
	if (now < ex->retry_at && !(settings->lock_share && ex->asked))
		return EXCLUSIVE_WAIT;
	int error = ex->held > 0 ? 0 : lock_file_ready(&ex->file, why, sizeof(why));
	if (error < 0)
		return fail(ss, error, why);
	return settings->lock_share ? ask_shared(ss, now) : ask_alone(ss, now);
}

bool exclusive_take(struct safestart *ss, struct safestart_run *run, enum exclusive_verdict verdict)
{
	struct exclusive *ex = &ss->exclusive;

	/* A run that begins covers everybody who has asked; one that others have made only those who were in its batch. */
	if (verdict == EXCLUSIVE_BEGIN || !(ex->taken || ex->covered))
		take_more(ss);
	else
		ex->left = ex->left || ex->asked;
	if (!ex->taken)
		ex->batch.ticket = ss->tickets.answered; /* changed by this thread only, but for a shutdown, which has answered all */
	run->batch = ex->batch;
	run->locked = verdict == EXCLUSIVE_BEGIN && handle_settings(ss)->lock != NULL;
	run->shared = verdict == EXCLUSIVE_BEGIN ? ex->closed : 0;
	run->shared_id = ex->me.id;
	bool any = run->batch.requests > 0;
	if (run->shared != 0)
		run->batch.requests = ex->total;
	if (ex->covered)
		run->batch.requests = ex->end.requests;
	if (verdict == EXCLUSIVE_BEGIN)
		ex->left = false;
	ex->batch = (struct request_batch){0};
	ex->taken = ex->asked = ex->covered = false;
	ex->closed = ex->me.sequence = 0;
	return any;
}

void exclusive_publish(struct safestart_run *run)
{
	struct exclusive *ex = &run->ss->exclusive;
	struct share_outcome outcome = {.sequence = run->shared, .requests = run->batch.requests, .verdict = run->outcome.verdict, .error = run->outcome.error,
					.status = run->outcome.status, .pid = getpid()};
	char bytes[SHARE_DONE_SIZE];
	struct shared shared;

	/* Cancelled is what this handle is: others still want it done, and somebody will. */
	if (run->shared == 0 || run->outcome.verdict == SAFESTART_CANCELLED)
		return;
	why_copy(outcome.message, sizeof(outcome.message), run->outcome.message);
	look(ex, &shared);
	share_publish(&shared.done, run->shared_id, &outcome, loop_now());
	share_print_done(&shared.done, bytes);
	int error = lock_file_write(&ex->file, LOCK_DONE, bytes, sizeof(bytes));
	if (error < 0)
		handle_log(run->ss, LOG_WARNING, "the outcome can't be written to the lock %s (%s): who waits there makes a run of their own", lock_path(run->ss), safestart_strerror(error));
	ex->me.seen = run->shared;
	run->shared = 0;
}

void exclusive_undo(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;

	if (handle_settings(ss)->lock == NULL || --ex->held > 0)
		return;
	ex->ended = loop_now();
	lock_file_sign(&ex->file, handle_settings(ss)->name, false, ex->ended);
	lock_file_release(&ex->file, LOCK_RUN);
	show(ss, EXCLUSIVE_FREE, 0, "");
}

void exclusive_leave(struct safestart_run *run)
{
	if (run->locked)
		exclusive_undo(run->ss);
	run->locked = false;
}
