/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A byte string is a small program that drives one handle, compared with a simple model of it:
 * settings first, then one operation after another. At the end everything is closed and
 * accounted for. Time is simulated. */
#include <errno.h>
#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

#include "desired.h"
#include "pull.h"
#include "settings.h"
#include "virtual.h"

#define SLOTS 4

static struct safestart *ss;
static bool closing; /* close was called and gave up: no reading any more */
static int forks;

/* What a reader holds: it must not change. Slot 0 borrows, the others own. */
static struct slot {
	const struct safestart_snapshot *snapshot;
	uint8_t nodes[IDS];
	uint64_t generation;
	bool foreign;
} slots[SLOTS];

/* ---- What has to hold at any time ---- */

static void check(void)
{
	if (closing)
		return;
	HOLD(safestart_generation(ss) == model.generation);
	HOLD(safestart_generation_address(ss) == application.address &&
	     __atomic_load_n(application.address, __ATOMIC_ACQUIRE) == model.generation);
	HOLD(forks >= 10 || safestart_forked(ss) == 0);
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	HOLD(safestart_snapshot_generation(live) == model.generation);
	application_hold_nodes(live, model.live);
	safestart_read_unlock(ss);
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i].snapshot == NULL)
			continue;
		HOLD(safestart_snapshot_generation(slots[i].snapshot) == slots[i].generation);
		application_hold_nodes(slots[i].snapshot, slots[i].nodes);
	}
}

/* With no reader and no run, only the live generation is left. */
static void check_flat(void)
{
	const struct safestart_snapshot *live;
	/* Retired keys wait until they are taken. */
	bool quiet = !closing && model.current == NULL && !(model.pull && application.pause > 0);

	for (int i = 0; i < SLOTS; i++)
		quiet = quiet && slots[i].snapshot == NULL;
	for (int i = 0; i < RUNS; i++)
		quiet = quiet && model.run[i].run == NULL;
	if (!quiet)
		return;
	live = safestart_read_lock(ss);
	HOLD(things_alive() == things_of(live));
	safestart_read_unlock(ss);
}

static void dispatch(int timeout_ms)
{
	int result = safestart_dispatch(ss, timeout_ms);

	HOLD(result == 0 || (result == -ECANCELED && model.shut));
	HOLD(!model.keep_due);
	pull_take();
	application.over = application.over || result == -ECANCELED;
	if (application.over)
		pull_take(); /* nothing, and for ever */
	check_flat();
}

/* ---- Requests and waits ---- */

static void request(struct input *input)
{
	uint8_t flags = input_byte(input);
	bool force = flags & SAFESTART_FORCE;
	char reason[256];

	for (size_t i = 0; i < sizeof(reason); i++)
		reason[i] = (char)(flags + i * 7);
	reason[flags] = '\0';
	if (flags & SAFESTART_PROCESS)
		HOLD(safestart_request(ss, flags & 7, NULL) == 0);
	else
		model_request(safestart_request(ss, flags & 3, flags >> 3 & 1 ? reason : NULL),
			      force);
}

static void hold_answer(uint64_t ticket, int result, const struct safestart_outcome *outcome)
{
	HOLD(result == 0 && model.answered >= ticket);
	HOLD(outcome->verdict == model.answers[ticket % TICKETS].verdict &&
	     outcome->run == model.answers[ticket % TICKETS].run);
}

static void await(struct input *input)
{
	uint8_t choice = input_byte(input);
	uint64_t ticket = model.ticket + 1 - (choice & 7);
	int timeout_ms = choice >> 6 == 0 ? 0 : choice >> 6 == 1 ? 50 : 20000;
	struct safestart_outcome outcome = {.size = sizeof(outcome)}, looked = outcome;

	if (ticket == 0 || ticket > model.ticket) {
		ticket = ticket > model.ticket ? model.ticket + 1 : 0;
		HOLD(safestart_wait(ss, ticket, timeout_ms, &outcome) == -EINVAL);
		HOLD(safestart_try_wait(ss, ticket, &outcome) == -EINVAL);
		return;
	}
	int result = safestart_wait(ss, ticket, timeout_ms, &outcome),
	    again = safestart_try_wait(ss, ticket, &looked);
	HOLD(is_clean(outcome.message));
	HOLD(again == (result == 0 ? 0 : -EAGAIN));
	if (result == 0) {
		hold_answer(ticket, result, &outcome);
		HOLD(memcmp(&looked, &outcome, sizeof(outcome)) == 0);
	} else {
		HOLD(model.answered < ticket && looked.run == 0);
		HOLD(result == -ETIMEDOUT ||
		     (result == -EDEADLK && timeout_ms != 0 && model_later_open() > 0));
		HOLD(result != -ETIMEDOUT ||
		     (outcome.verdict == SAFESTART_PENDING && outcome.message[0] != '\0'));
	}
}

static void ask_status(struct input *input)
{
	int id = input_byte(input) & (IDS - 1);
	char why[100];
	/* A borrower delays every generation since. */
	bool held = false, runs = slots[0].snapshot != NULL;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	for (int i = 0; i < SLOTS; i++)
		held = held ||
		       (slots[i].snapshot != NULL && !slots[i].foreign && slots[i].nodes[id] != 0);
	for (int i = 0; i < RUNS; i++)
		runs = runs || model.run[i].run != NULL;
	for (int i = 0; i < SLOTS; i++) /* what a fork inherited, or what a reader left just now */
		runs = runs || slots[i].foreign;
	int state = safestart_node_state(ss, application_id(id), why, sizeof(why));
	hold_words(why, sizeof(why));
	if (getenv("FUZZ_VERBOSE") != NULL)
		fprintf(stderr, "node %d: %d, %s\n", id, state, why);
	HOLD(state == model_node_state(id, held, false) ||
	     (runs && state == model_node_state(id, held, true)));
	char *status = safestart_status_json(ss), *metrics = safestart_metrics_text(ss);
	json_t *root = status != NULL ? json_loads(status, 0, NULL) : NULL;
	HOLD(root != NULL && metrics != NULL);
	HOLD((uint64_t)json_integer_value(json_object_get(root, "generation")) == model.generation);
	HOLD(json_is_true(json_object_get(root, "shut_down")) == model.shut);
	HOLD((unsigned)json_integer_value(json_object_get(root, "unfinished_later")) ==
	     model_owed() - model_later_open());
	json_decref(root);
	safestart_free(status);
	safestart_free(metrics);
	HOLD(safestart_last_outcome(ss, &outcome) ==
		     (model.earliest != 0 || forks > 0 ? 0 : -EAGAIN) ||
	     forks > 0);
}

/* ---- Readers ---- */

static void take(struct input *input)
{
	struct slot *slot = &slots[input_byte(input) % SLOTS];

	if (slot->snapshot != NULL)
		return;
	if (slot == slots) {
		slot->snapshot = safestart_read_lock(ss);
		/* A reader on another thread: the grace periods here are simulated. */
		safestart_read_unlock(ss);
		virtual_borrow(true);
	} else {
		slot->snapshot = safestart_snapshot_acquire(ss);
	}
	memcpy(slot->nodes, model.live, IDS);
	slot->generation = model.generation;
	slot->foreign = false;
}

static void give_back(struct slot *slot)
{
	if (slot->snapshot == NULL)
		return;
	HOLD(safestart_snapshot_generation(slot->snapshot) == slot->generation);
	application_hold_nodes(slot->snapshot, slot->nodes);
	if (slot == slots) {
		virtual_borrow(false);
		if (ss != NULL)
			snapshot_reclaim(ss->home);
	} else {
		safestart_snapshot_release((struct safestart_snapshot *)(uintptr_t)slot->snapshot);
	}
	slot->snapshot = NULL;
	if (ss != NULL && !closing)
		dispatch(0);
}

static void report(struct input *input)
{
	uint8_t choice = input_byte(input);
	int id = choice & (IDS - 1), error = choice >> 4 & 1 ? -EIO : 0;

	const struct safestart_snapshot *live = safestart_read_lock(ss);
	HOLD(safestart_node_report(safestart_snapshot_find(live, application_id(id)), error) == 0);
	safestart_read_unlock(ss);
	if (model.live[id] != 0)
		model.report[id] = error == 0 ? SAFESTART_NODE_PROVEN - SAFESTART_NODE_APPLIED
					      : SAFESTART_NODE_FAILING - SAFESTART_NODE_APPLIED;
	/* For so many operations nothing is taken. */
	if (choice >> 5 > 1)
		application.pause = 8u * (choice >> 5);
}

/* ---- What callbacks do, and what is finished later ---- */

static void tell(struct input *input, struct script *script, int later)
{
	script->how = input_byte(input) % HOW_COUNT;
	script->reject = input_byte(input);
	script->hang = input_byte(input);
	if ((script->how == HOW_LATER || script->how == HOW_HANG_LATER) && later >= RUNS - 3)
		script->how = HOW_OK;
}

static struct model_run *pick_later(struct input *input)
{
	unsigned count = 0;

	for (struct model_run *run = model.run; run < model.run + RUNS; run++)
		count += model_is_at_hand(run);
	unsigned pick = count > 0 ? input_byte(input) % count : 0;
	for (struct model_run *run = model.run; run < model.run + RUNS; run++) {
		if (model_is_at_hand(run) && pick-- == 0)
			return run;
	}
	return NULL;
}

static void finish_one(struct input *input)
{
	static const int errors[] = {0, 0, -EIO, 9};
	struct model_run *run = pick_later(input);

	if (run == NULL)
		return;
	uint8_t choice = input_byte(input);
	application_finish(run, errors[choice & 3], (choice & 6) == 6 && run->at != AT_GATHER);
}

static void work_later(struct input *input)
{
	struct model_run *run = pick_later(input);
	uint8_t choice = input_byte(input);

	if (run == NULL || run->at != AT_PREPARE)
		return;
	if (choice & 1)
		application_reject(run, choice >> 4 & 3);
	else
		application_hang(run, choice >> 4);
}

/* ---- The end ---- */

/* What close waits for: with events=pull only what the source has to finish. */
static bool owes(void)
{
	bool owed = false;

	for (struct model_run *run = model.run; run < model.run + RUNS; run++)
		owed = owed || (run->run != NULL && run->later && !run->finished &&
				(!model.pull || run->at == AT_GATHER));
	return owed;
}

static int close_now(void)
{
	model_shutdown();
	model_abandon();
	int result = safestart_close(ss);
	if (result == 0)
		ss = NULL;
	return result;
}

static void close_early(void)
{
	bool owed = owes(), borrowed = slots[0].snapshot != NULL;

	int result = close_now();
	closing = ss != NULL;
	if (result == 0)
		HOLD(!owed && !borrowed);
	else
		HOLD((result == -EDEADLK && owed) || (result == -ETIMEDOUT && borrowed));
}

/* Every ticket gets its outcome: time passes, and callbacks do as they should. */
static void settle(void)
{
	static const struct script fine;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	application.prepare = application.restart = application.gather = fine;
	application.pause = 0;
	pull_take();
	for (struct model_run *run = model.run; run < model.run + RUNS; run++) {
		if (model_is_at_hand(run))
			application_finish(run, 0, false);
	}
	for (int i = 0; i < 60 && !closing && model.answered < model.ticket; i++)
		dispatch(3600 * 1000);
	HOLD(closing || model.answered == model.ticket);
	for (uint64_t ticket = model.ticket; ticket > 0 && ticket + 20 > model.ticket && !closing;
	     ticket--)
		hold_answer(ticket, safestart_wait(ss, ticket, 0, &outcome), &outcome);
}

/* After a shutdown everything comes to its end, and the application learns it. */
static void shut_down(void)
{
	HOLD(safestart_shutdown(ss) == 0);
	model_shutdown();
	for (int i = 0; i < 20 && model.pull && !application.over; i++)
		dispatch(0);
	HOLD(!model.pull || application.over);
}

static void end(void)
{
	bool owned = false;

	/* A program that ends while it takes nothing may just close. */
	if (ss != NULL && !(model.pull && application.pause > 0 && !owes())) {
		settle();
		give_back(&slots[0]);
		if (!closing) {
			dispatch(0);
			check();
			shut_down();
		}
		pull_take();
	}
	if (ss != NULL) {
		give_back(&slots[0]);
		HOLD(close_now() == 0);
	}
	for (int i = 0; i < SLOTS; i++)
		owned = owned || slots[i].snapshot != NULL;
	HOLD(application.destroyed == !owned || forks >= 10);
	for (int i = 0; i < SLOTS; i++)
		give_back(&slots[i]); /* owners outlive the handle */
	HOLD(application.destroyed == 1 || forks >= 10);
	things_end();
}

/* The child goes on with the same program; the parent waits for it and then goes on itself. Only
 * without sanitizers: their allocators are not fork-safe, and libFuzzer is one process. */
static void fork_here(void)
{
#ifdef FUZZ_FORK
	int status;

	if (forks >= 2 || model.shut || slots[0].snapshot != NULL)
		return;
	pid_t child = fork();
	HOLD(child >= 0);
	forks++;
	if (child != 0) {
		HOLD(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
		     WEXITSTATUS(status) == 0);
		return;
	}
	HOLD(safestart_forked(ss) == 1);
	model_forked();
	things_forked();
	application.over = false;
	for (int i = 0; i < SLOTS; i++)
		slots[i].foreign = true;
	forks += 10;
#endif
}

/* ---- The program ---- */

static void wait_ready(void)
{
	bool open = model_later_open() > 0, shut = model.shut;
	int result = safestart_wait_ready(ss, 100);

	if (!shut && model.generation > 0)
		HOLD(result == 0);
	else if (model.shut)
		HOLD(result == -ECANCELED);
	else
		HOLD(result == -ETIMEDOUT ||
		     (result == -EDEADLK && (open || model_later_open() > 0)));
}

/* Its operand is a letter, so that a program that ends its handle is rare. */
static void rare(struct input *input)
{
	switch (input_byte(input)) {
	case 'C': close_early(); break;
	case 'S':
		HOLD(safestart_shutdown(ss) == 0);
		model_shutdown();
		break;
	case 'K': application.keep_fails = true; break;
	default: wait_ready();
	}
}

static void operate(struct input *input)
{
	static const int waits_ms[] = {1, 30, 200, 1500, 6000, 40000, 100, 0};

	switch (input_byte(input) % 24) {
	case 0:
	case 1: desired_replace(input); break;
	case 2: desired_replace_malformed(input); break;
	case 3: desired_announce(input); break;
	case 4: desired_withdraw(input); break;
	case 5:
	case 6: request(input); break;
	case 7: tell(input, &application.prepare, (int)model_owed()); break;
	case 8: tell(input, &application.restart, (int)model_owed()); break;
	case 9:
		application.document = input_byte(input) % HAND_COUNT;
		tell(input, &application.gather,
		     application.document == HAND_MALFORMED ? RUNS : (int)model_owed());
		break;
	case 10:
	case 11: dispatch(0); break;
	case 12:
	case 13: dispatch(waits_ms[input_byte(input) & 7]); break;
	case 14: virtual_advance(waits_ms[input_byte(input) & 7] * INT64_C(1000000)); break;
	case 15: take(input); break;
	case 16: give_back(&slots[input_byte(input) % SLOTS]); break;
	case 17: report(input); break;
	case 18: ask_status(input); break;
	case 19: finish_one(input); break;
	case 20: work_later(input); break;
	case 21: await(input); break;
	case 22: fork_here(); break;
	default: rare(input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	json_object_seed(1);
	memset(&model, 0, sizeof(model));
	memset(slots, 0, sizeof(slots));
	closing = false;
	forks = 0;
	virtual_reset();
	application_reset();
	virtual_turn = model_turn;
	model.pull = size > 2 && data[size - 1] >= 0xc0; /* the last setting, at the end */
	settings_open(&input);
	ss = application.ss;
	application.address = safestart_generation_address(ss);
	for (int i = 0; i < 200 && input.left > 0 && ss != NULL && !closing; i++) {
		operate(&input);
		application.pause -= application.pause > 0;
		if (ss == NULL || closing)
			break;
		pull_take();
		check();
	}
	end();
	if (forks >= 10)
		_exit(EXIT_SUCCESS);
	return 0;
}
