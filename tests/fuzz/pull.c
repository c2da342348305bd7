/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pull.h"

#include <errno.h>
#include <poll.h>

#include "application.h"
#include "fuzz.h"
#include "virtual.h"

#define LOG_LINES 256 /* that wait at most */

/* A finish at once, a late one, or none before a later operation, or ever. */
static void act(struct model_run *run, struct script *script)
{
	uint8_t how = script->how;
	static const int errors[HOW_COUNT] =
		{[HOW_FAIL] = -EIO, [HOW_POSITIVE] = 7, [HOW_EARLY_FAIL] = -ENOSPC};

	*script = (struct script){0};
	if (how == HOW_HANG || how == HOW_HANG_LATER)
		virtual_advance(model.run_timeout + (how == HOW_HANG ? SECOND : 0));
	if (how == HOW_REQUEST)
		model_request(safestart_request(application.ss, SAFESTART_URGENT, "from outside"),
			      false);
	if (how == HOW_SHUTDOWN) {
		HOLD(safestart_shutdown(application.ss) == 0);
		model_shutdown();
	}
	if (how != HOW_LATER && how != HOW_HANG_LATER)
		application_finish(run, errors[how], how == HOW_EARLY_FAIL);
}

static void do_it(const struct safestart_event *event)
{
	struct model_run *run = model_find(event->run_number);

	HOLD(safestart_run_number(event->run) == event->run_number);
	HOLD(safestart_run_cancelled(event->run) ==
	     (run->expired || run->cancelled || virtual_now() >= run->deadline));
	if (event->kind == SAFESTART_EVENT_PREPARE) {
		application_prepare(run);
		act(run, &application.prepare);
	} else if (event->kind == SAFESTART_EVENT_RESTART) {
		application_restart(run);
		act(run, &application.restart);
	}
}

static void took(const struct safestart_event *event)
{
	bool text = event->kind == SAFESTART_EVENT_LOG || event->kind == SAFESTART_EVENT_OUTCOME;

	HOLD((event->text != NULL) == text &&
	     (event->key != 0) == (event->run_number == 0 && !text));
	switch (event->kind) {
	case SAFESTART_EVENT_LOG:
		HOLD(event->level >= 0 && event->level <= 7 && event->run_number == 0);
		HOLD(event->text[0] != '\0' && is_clean(event->text));
		break;
	case SAFESTART_EVENT_RETIRE: thing_retire(event->key, false); break;
	case SAFESTART_EVENT_RETIRE_NODE: thing_retire(event->key, true); break;
	default:
		model_took(event);
		if (event->run != NULL)
			do_it(event);
	}
}

/* Readable exactly while next_event has something to say. */
static bool is_readable(void)
{
	struct pollfd descriptor = {.fd = safestart_event_fd(application.ss), .events = POLLIN};

	HOLD(poll(&descriptor, 1, 0) >= 0);
	return descriptor.revents == POLLIN;
}

/* Nothing is left: nobody waits for an answer, no run is to be finished. */
static void hold_over(void)
{
	HOLD(model.shut && model.events == 0 && model.current == NULL && model_owed() == 0);
	application.over = true;
}

void pull_take(void)
{
	struct safestart_event event = {.size = sizeof(event)};
	unsigned lines = 0;
	int result;

	while (model.pull && application.pause == 0) {
		bool readable = is_readable();
		result = safestart_next_event(application.ss, &event);
		HOLD(readable == (result != 0) && event.size == sizeof(event));
		if (result != 1)
			break;
		lines = event.kind == SAFESTART_EVENT_LOG ? lines + 1 : 0;
		HOLD(lines <= LOG_LINES);
		took(&event);
	}
	if (!model.pull || application.pause > 0)
		return;
	HOLD(event.kind == 0 && event.run == NULL && event.outcome == NULL && event.text == NULL);
	HOLD(model.events == 0 && (result == 0 || result == -ECANCELED));
	HOLD(result == -ECANCELED || !application.over);
	if (result == -ECANCELED)
		hold_over();
}

/* ---- What the library tells, when it does: the model lives in the same moment ---- */

void __real_mailbox_put_outcome(struct mailbox *mailbox, const struct safestart_outcome *outcome);
void __wrap_mailbox_put_outcome(struct mailbox *mailbox, const struct safestart_outcome *outcome);

void __wrap_mailbox_put_outcome(struct mailbox *mailbox, const struct safestart_outcome *outcome)
{
	model_outcome(outcome);
	model_tell_outcome(outcome);
	__real_mailbox_put_outcome(mailbox, outcome);
}
