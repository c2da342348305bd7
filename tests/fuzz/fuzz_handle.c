/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A byte string is a small program that drives one handle, compared with a simple model of it:
 * settings first, then one operation after another. At the end everything is closed and
 * accounted for. Time is simulated. */
#include <errno.h>
#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

#include "desired.h"
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
	bool quiet = !closing && model.current == NULL;

	for (int i = 0; i < SLOTS; i++)
		quiet = quiet && slots[i].snapshot == NULL;
	for (int i = 0; i < RUNS; i++)
		quiet = quiet && model.run[i].run == NULL;
	if (quiet)
		HOLD(application_alive() == application_reachable());
}

static void dispatch(int timeout_ms)
{
	int result = safestart_dispatch(ss, timeout_ms);

	HOLD(result == 0 || (result == -ECANCELED && model.shut));
	HOLD(!model.keep_due);
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
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	if (ticket == 0 || ticket > model.ticket) {
		HOLD(safestart_wait(ss, ticket > model.ticket ? model.ticket + 1 : 0, timeout_ms,
				    &outcome) == -EINVAL);
		return;
	}
	int result = safestart_wait(ss, ticket, timeout_ms, &outcome);
	HOLD(is_clean(outcome.message));
	if (result == 0) {
		hold_answer(ticket, result, &outcome);
	} else {
		HOLD(model.answered < ticket);
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

static void finish(struct model_run *run, int error)
{
	int expected = model_finish(run, error);

	HOLD(safestart_run_finish(run->run, error) == expected);
}

static struct model_run *pick_later(struct input *input)
{
	unsigned owed = model_owed(), pick = owed > 0 ? input_byte(input) % owed : 0;

	for (struct model_run *run = model.run; run < model.run + RUNS && owed > 0; run++) {
		if (run->run != NULL && run->later && !run->finished && pick-- == 0)
			return run;
	}
	return NULL;
}

static void finish_one(struct input *input)
{
	static const int errors[] = {0, 0, -EIO, 9};
	struct model_run *run = pick_later(input);

	if (run != NULL)
		finish(run, errors[input_byte(input) & 3]);
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

static void close_early(void)
{
	bool owed = model_owed() > 0, borrowed = slots[0].snapshot != NULL;

	model_shutdown();
	int result = safestart_close(ss);
	if (result == 0) {
		HOLD(!owed && !borrowed);
		ss = NULL;
		return;
	}
	closing = true;
	HOLD((result == -EDEADLK && owed) || (result == -ETIMEDOUT && borrowed));
}

/* Every ticket gets its outcome: time passes, and callbacks do as they should. */
static void settle(void)
{
	static const struct script fine;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	application.prepare = application.restart = application.gather = fine;
	for (struct model_run *run = model.run; run < model.run + RUNS; run++) {
		if (run->run != NULL && run->later && !run->finished)
			finish(run, 0);
	}
	for (int i = 0; i < 20 && !closing && model.answered < model.ticket; i++)
		dispatch(3600 * 1000);
	HOLD(closing || model.answered == model.ticket);
	for (uint64_t ticket = model.ticket; ticket > 0 && ticket + 20 > model.ticket && !closing;
	     ticket--)
		hold_answer(ticket, safestart_wait(ss, ticket, 0, &outcome), &outcome);
}

static void end(void)
{
	if (ss != NULL) {
		settle();
		give_back(&slots[0]);
		if (!closing) {
			dispatch(0);
			check();
		}
		model_shutdown();
		HOLD(safestart_close(ss) == 0);
		ss = NULL;
	}
	for (int i = 0; i < SLOTS; i++)
		give_back(&slots[i]); /* owners outlive the handle */
	application_end();
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
	model_forked();
	application_forked();
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

static void set(struct safestart_conf *conf, const char *key, const char *value)
{
	HOLD(safestart_conf_set(conf, key, value, NULL, 0) == 0);
}

/* The content of last_good: unusable content counts as nothing. */
static void keep(struct input *input, struct safestart_conf *conf)
{
	int count = input_byte(input) & 3;

	set(conf, "last_good", "/kept");
	desired_write(input, count, &model.kept, application.kept, sizeof(application.kept));
	model.kept_any = model_count(model.kept.node) > 0 || (count == 0 && model.allow_empty);
	if (!model.kept_any)
		application.kept[0] = '\0';
}

/* Two bytes of settings. */
static void open_handle(struct input *input)
{
	static const unsigned shrinks[] = {50, 0, 25, 100};
	uint8_t one = input_byte(input), two = input_byte(input);
	struct safestart_conf *conf = safestart_conf_new();
	char text[32], why[100];

	model.push = !(one & 1);
	model.has_prepare = !(one & 2);
	model.has_restart = one & 4;
	model.allow_empty = one & 8;
	model.max_shrink = shrinks[one >> 4 & 3];
	model.shrink_window = two & 128 ? 0 : 60 * SECOND;
	model.min_nodes = one >> 6;
	model.max_nodes = two & 1 ? 6 : 100000;
	model.retries = !(two & 2);
	model.min_interval = two & 4 ? SECOND : 0;
	model.run_timeout = two & 8 ? 2 * SECOND : 30 * SECOND;
	model.reconciles = !model.push && (two & 32);
	model.last_good = two & 64;
	model.first = !model.push || model.last_good;
	if (model.last_good)
		keep(input, conf);
	snprintf(text, sizeof(text), "%u%%", model.max_shrink);
	set(conf, "max_shrink", text);
	set(conf, "shrink_window", two & 128 ? "0" : "1m");
	snprintf(text, sizeof(text), "%zu", model.min_nodes);
	set(conf, "min_nodes", text);
	snprintf(text, sizeof(text), "%zu", model.max_nodes);
	set(conf, "max_nodes", text);
	set(conf, "allow_empty", model.allow_empty ? "yes" : "no");
	set(conf, "retry_min", model.retries ? "100ms" : "0");
	set(conf, "min_interval", model.min_interval > 0 ? "1s" : "0");
	set(conf, "run_timeout", two & 8 ? "2s" : "30s");
	set(conf, "debounce", two & 16 ? "100ms" : "0");
	set(conf, "reconcile", model.reconciles ? "30s" : "0");
	set(conf, "source", model.push ? "push" : "told");
	set(conf, "name", "fuzz");
	set(conf, "thread", "no");
	application_use(conf);
	HOLD(safestart_open(&ss, conf, why, sizeof(why)) == 0);
	safestart_conf_free(conf);
	application.ss = ss;
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
	open_handle(&input);
	for (int i = 0; i < 200 && input.left > 0 && ss != NULL && !closing; i++) {
		operate(&input);
		if (ss != NULL)
			check();
	}
	end();
	if (forks >= 10)
		_exit(EXIT_SUCCESS);
	return 0;
}
