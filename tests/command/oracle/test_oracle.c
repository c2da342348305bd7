/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host of processes whose life is drawn from one seed, and after each step the verdicts of the
 * command on it: `wait` says that a node is available, or gone, exactly when it is, and `status`
 * that all is well only when it is [P22]. The processes are handles in this one; their answers are
 * the library's, the verdicts the command's. Time is simulated. */
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/virtual.h"
#include "judge.h"
#include "steps.h"

#define SECONDS 5
#define STEPS 500 /* of a host's life */
#define LINES 60  /* printed after a failure; all, where a seed was given */

/* ---- What is printed when something is wrong ---- */

static uint64_t seed;
static unsigned long step, steps;
static char lines[STEPS][160]; /* in words */

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(lines[step], sizeof(lines[0]), format, arguments);
	va_end(arguments);
}

/* After abort(): a verdict is wrong, or an invariant of the library does not hold. */
static void on_abort(int signal_number)
{
	(void)signal_number;
	unsigned long from = step < LINES || getenv("SAFESTART_SEED") != NULL ? 0 : step - LINES;

	for (unsigned long i = from; i <= step && i < STEPS; i++) {
		if (lines[i][0] != '\0')
			fprintf(stderr, "%6lu %s\n", i, lines[i]);
	}
	fprintf(stderr, "SAFESTART_SEED=%llu, step %lu\n", (unsigned long long)seed, step);
	_exit(1);
}

/* ---- All is well ---- */

static void repair(struct process *process)
{
	if (process->hidden)
		process_revive(process);
	process->fails = process->postpones = process->old = false;
	process->rejects = 0;
	process->state = RUNNING;
	process_finish(process, 0);
	for (unsigned i = 0; i < HOLDS; i++) {
		if (process->holds[i])
			process_release(process, i);
	}
	/* Processes of one name read the same. */
	if (!process->shut && process->source == process->name)
		return;
	process_end(process);
	host_start(process, process->name, process->name);
	process->old = false;
}

/* As often as a run may postpone, fail and be retried. */
static void apply(struct process *process)
{
	process_request(process, SAFESTART_FORCE | SAFESTART_URGENT);
	for (int i = 0; i < 3; i++) {
		virtual_advance(SECOND);
		process_turn(process);
	}
	if (memcmp(&process->live, &process->desired, sizeof(process->live)) != 0) {
		fprintf(stderr, "process %u does not use what it should\n", process->number);
		abort();
	}
	for (int id = 0; id < IDS; id++) {
		if (process->live.entry[id] != ABSENT)
			process_report(process, id, GOOD);
	}
}

static struct set usable_set(void)
{
	struct set set = host_any_set();

	for (int id = 0; id < IDS; id++)
		set.entry[id] = set.entry[id] == BROKEN ? ABSENT : set.entry[id];
	set.entry[below(IDS)] = entry_random();
	return set;
}

/* What was wrong is mended, and nothing is on its way any more: now it has to be said. */
static void settle(void)
{
	struct set pushed = usable_set();

	host.pretender.there = false;
	for (unsigned i = 0; i < DOCUMENTS; i++)
		documents[i] = (struct document){.set = usable_set()};
	for (int i = 0; i < SLOTS; i++) {
		struct process *process = &host.process[i];
		if (!is_there(process))
			continue;
		repair(process);
		if (process->source == PUSHED)
			process_push(process, &pushed);
		apply(process);
	}
	for (unsigned name = 0; name < NAMES; name++) {
		host.roster[name] = host_serving(name);
		host.listed[name] = host.roster[name] > 0;
	}
	say("all is mended");
	for (int id = 0; id < IDS; id++)
		judge_node(id, true);
	judge_status(true);
}

/* ---- A life ---- */

static void take_step(void)
{
	lines[step][0] = '\0';
	/* A host begins with some processes. */
	if (step < NAMES)
		host_add();
	else if (one_in(130))
		settle();
	else
		host_step();
	virtual_advance(SECOND / 1000); /* asked later than what it has done */
	judge_node((int)below(IDS), false);
	if (one_in(2))
		judge_status(false);
	steps++;
}

/* One host, from nothing to its end. */
static void play(void)
{
	virtual_reset();
	chance_begin(seed);
	host_begin();
	for (unsigned i = 0; i < DOCUMENTS; i++)
		documents[i] = (struct document){.set = usable_set()};
	for (step = 0; step < STEPS; step++)
		take_step();
	for (int i = 0; i < SLOTS; i++) {
		if (is_there(&host.process[i]))
			process_end(&host.process[i]);
	}
	process_forget_kept();
}

/* Of the processor: a busy machine tries no less. */
static int64_t spent(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

int main(void)
{
	bool given = getenv("SAFESTART_SEED") != NULL;
	const char *soak = getenv("SAFESTART_SOAK");
	int64_t until = SECONDS * SECOND * (soak != NULL ? atoi(soak) : 1);

	signal(SIGABRT, on_abort);
	seed = chance_seed(20170411);
	do {
		play();
		seed++;
	} while (!given && spent() < until);
	printf("%lu steps; available %lu of %lu, gone %lu of %lu, well %lu of %lu\n", steps,
	       judged.available, judged.available + judged.lacking, judged.gone,
	       judged.gone + judged.not_gone, judged.well, judged.well + judged.not_well);
	HOLD(given || (judged.available > 0 && judged.gone > 0 && judged.well > 0));
	return 0;
}
