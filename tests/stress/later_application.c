/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stress/later_world.h"

static void enter(const char *callback)
{
	if (!world.handed_back && atomic_fetch_add(&world.inside, 1) > 0)
		wrong("%s overlaps another callback", callback); /* [P1] */
}

static void leave(void)
{
	if (!world.handed_back)
		world.inside--;
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, passing = world.passing;

	(void)user_data;
	enter("prepare");
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind == SAFESTART_REMOVED || i % 2 != 0)
			continue;
		if (safestart_run_set_node_data(run, node, new_item(true)) != 0)
			wrong("no data for a changed node");
	}
	safestart_run_set_data(run, new_item(false));
	int result = answer_later(run, PREPARE, safestart_run_number(run), passing);
	leave();
	return result;
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	int passing = world.passing;

	(void)user_data;
	enter("restart");
	int result = answer_later(run, RESTART, safestart_run_number(run), passing);
	leave();
	return result;
}

/* Once each, by the callback it was meant for, and never in a child what is its parent's. [P13]
 * [P17] */
static void take_back(void *data, bool of_node)
{
	struct item *item = data;

	if (item < world.items || item >= world.items + ITEMS || !item->handed)
		wrong("retired what was not handed over");
	else if (item->of_node != of_node)
		wrong("retired by the wrong callback");
	else if (item - world.items < world.items_of_parent)
		wrong("a child retired what is its parent's");
	else if (atomic_fetch_add(&item->retired, 1) > 0)
		wrong("retired twice");
}

static void on_retire(void *data, void *user_data)
{
	(void)user_data;
	enter("retire");
	take_back(data, false);
	leave();
}

static void on_retire_node(void *data, void *user_data)
{
	(void)user_data;
	enter("retire_node");
	take_back(data, true);
	leave();
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	struct run_record *run = &world.runs[outcome->run % RUNS];

	(void)user_data;
	enter("outcome");
	if (outcome->run <= world.newest_run ||
	    (!world.is_child && outcome->run != world.newest_run + 1))
		wrong("the outcome of run %d comes after that of run %d", (int)outcome->run,
		      (int)world.newest_run);
	world.newest_run = outcome->run;
	check_outcome(outcome, "outcome");
	if (atomic_exchange(&run->told, outcome->verdict + 1) != 0)
		wrong("run %d was told twice", (int)outcome->run);
	leave();
	happened();
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
}

/* ---- The source ---- */

static int source_opens(void **state, const struct safestart_source_conf *conf, char *why,
			size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int source_gathers(void *state, struct safestart_gather *gather)
{
	int passing = world.passing;

	(void)state;
	enter("gather");
	int result = answer_later(gather, GATHER, 0, passing);
	if (result == 0)
		result = give_document(gather);
	leave();
	return result;
}

static void source_closes(void *state)
{
	(void)state;
	if (world.kind.phase == GATHER && laters_open() > 0 && !world.is_child)
		wrong("the source is closed while a gather is open");
}

static const struct safestart_source source = {.size = sizeof(source),
					       .scheme = "later",
					       .open = source_opens,
					       .gather = source_gathers,
					       .close = source_closes};

/* ---- The beginning, a fork, and the end ---- */

void world_open(const struct kind *kind)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .restart = kind->phase == RESTART ? on_restart
											: NULL,
						      .retire = on_retire,
						      .retire_node = on_retire_node,
						      .outcome = on_outcome,
						      .log = on_log};
	struct safestart_conf *conf =
		conf_with(kind->threads ? "thread=yes" : "thread=no", "debounce=0", "retry_min=0",
			  "reconcile=0", "max_shrink=100%", "run_timeout=1h", NULL);
	char why[256] = "";

	memset(&world, 0, sizeof(world));
	pthread_mutex_init(&world.lock, NULL);
	pthread_mutex_init(&world.laters_lock, NULL);
	pthread_cond_init(&world.changed, NULL);
	world.kind = *kind;
	world.laters_left = 2;
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_int_eq(safestart_conf_add_source(conf, &source, NULL), 0);
	if (kind->phase == GATHER)
		ck_assert_int_eq(safestart_conf_set(conf, "source", "later:", NULL, 0), 0);
	ck_assert_msg(safestart_open(&world.ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
}

void world_after_fork(void)
{
	instants_forget();
	world.is_child = true;
	pthread_mutex_init(&world.lock, NULL);
	pthread_mutex_init(&world.laters_lock, NULL);
	pthread_cond_init(&world.changed, NULL);
	world.closing = false;
	world.users = 0;
	world.inside = 0;
	world.laters_left = 0;
	for (int i = 0; i < LATERS; i++)
		world.laters[i].handle = NULL;
	memset(world.runs, 0, sizeof(world.runs));
	world.newest_run = 0;
	world.items_of_parent = world.item_count;
}

/* What a run was told to be is what became of its callbacks. [P6] */
static void check_run(int number, const struct run_record *run)
{
	int verdict = run->told - 1;

	if (run->told == 0)
		return;
	if (verdict <= SAFESTART_UNCHANGED && (run->failed > 0 || run->in_time != run->laters))
		wrong("run %d: verdict %d, but of %d LATER %d were finished in time, and %d failed",
		      number, verdict, run->laters, run->in_time, run->failed);
	if (verdict == SAFESTART_FAILED && run->failed == 0 && !world.gather_failed)
		wrong("run %d failed, but nothing did", number);
	if (verdict == SAFESTART_TIMED_OUT && run->settled)
		wrong("run %d timed out, but its last callback was finished in time", number);
}

static void check_ticket(uint64_t ticket, const struct safestart_outcome *answer)
{
	if (answer->size == 0)
		return;
	int told = answer->run > 0 ? world.runs[answer->run % RUNS].told - 1 : SAFESTART_CANCELLED;
	if (told != answer->verdict)
		wrong("ticket %d: verdict %d, but its run %d was told to be %d", (int)ticket,
		      answer->verdict, (int)answer->run, told);
}

void world_check(void)
{
	for (int i = 0; i < RUNS && !world.is_child; i++)
		check_run(i, &world.runs[i]);
	for (int i = 0; i < TICKETS && i < world.ticket_count && !world.is_child; i++)
		check_ticket(world.tickets[i], &world.answers[i]);
	for (int i = world.items_of_parent; i < world.item_count; i++) {
		const struct item *item = &world.items[i];
		if (item->handed && item->retired != 1)
			wrong("data %d was retired %d times", i, item->retired);
	}
	if (laters_open() > 0)
		wrong("the handle is gone, and a LATER is open");
	pthread_mutex_destroy(&world.lock);
	pthread_mutex_destroy(&world.laters_lock);
	pthread_cond_destroy(&world.changed);
}
