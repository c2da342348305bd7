/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* conclusion: the outcome of a run on the worker: verdict, error, and the words that the operator
 * reads first. It counts only if the run was in time: a deadline or a shutdown that came before has
 * its own outcome. [P6] Worker, no lock held. */
#include "run/conclusion.h"

#include <string.h>

#include "base/invariant.h"
#include "base/message.h"

static enum run_phase conclude(struct safestart_run *run, int verdict, int error,
			       const char *message)
{
	invariant(verdict >= SAFESTART_APPLIED && verdict < SAFESTART_TIMED_OUT);
	invariant((error < 0) == (verdict >= SAFESTART_REFUSED));
	if (!step_settle(run))
		return RUN_END;
	/* last_good stands in for a source that failed: the verdict is what the source did, or an
	 * operator would take a broken source for a good one. */
	if (run->from_kept && verdict == SAFESTART_APPLIED) {
		verdict = run->kept_verdict;
		error = run->gather_error;
	}
	run->outcome.verdict = verdict;
	run->outcome.error = error;
	run->outcome.status = atomic_load(&run->status);
	run->outcome.attempts = run->attempts;
	run->outcome.quarantined = (uint32_t)(run->rejection_count +
					      (run->wanted != NULL ? run->wanted->fault_count : 0));
	message_copy(run->outcome.message, sizeof(run->outcome.message), message);
	run->again = run->again || verdict == SAFESTART_FAILED || run->rejections != NULL;
	return RUN_END;
}

const char *conclusion_unprepared(struct safestart *ss)
{
	return ss->conf->callbacks.prepare != NULL && run_is_inherited(ss)
		       ? ", but inherited: none of its nodes is prepared in this process"
		       : "";
}

enum run_phase conclude_failure(struct safestart_run *run, int verdict, int error, const char *what,
				const char *words)
{
	char message[400];

	if (run->ss->source.kind == SOURCE_NONE)
		message_set(message, sizeof(message), 0, "%s: %s", what, words);
	else if (safestart_generation(run->ss) == 0)
		message_set(message, sizeof(message), 0, "%s: %s; no nodes are live yet", what,
			    words);
	else
		message_set(message, sizeof(message), 0,
			    "%s: %s; generation %llu (%zu nodes) is still serving%s", what, words,
			    (unsigned long long)safestart_generation(run->ss),
			    run->committed ? run->candidate->count : run->current->count,
			    conclusion_unprepared(run->ss));
	return conclude(run, verdict, error, message);
}

/* By enum safestart_change. */
static void count_changes(const struct safestart_run *run, size_t counts[SAFESTART_CHANGED + 1])
{
	memset(counts, 0, (SAFESTART_CHANGED + 1) * sizeof(counts[0]));
	for (size_t i = 0; i < run->plan.change_count; i++)
		counts[run->plan.changes[i].kind]++;
}

/* "; 2 left out, such as riak-9: the port …": one reason is worth more than a number. Rejections
 * come first, for the application's own words say more than the parser's. [P11] */
static void say_left_out(const struct safestart_run *run, char *text, size_t size)
{
	size_t faults = run->wanted != NULL ? run->wanted->fault_count : 0,
	       count = faults + run->rejection_count;

	text[0] = '\0';
	if (run->rejections != NULL)
		message_set(text, size, 0, "; %zu left out, such as %.40s: %s", count,
			    run->rejections->id, run->rejections->reason);
	else if (faults > 0)
		message_set(text, size, 0, "; %zu left out, such as %.40s: %s", count,
			    run->wanted->faults[0].id, run->wanted->faults[0].reason);
}

enum run_phase conclude_success(struct safestart_run *run)
{
	char message[512], left_out[300], source[300] = "";
	size_t counts[SAFESTART_CHANGED + 1];
	unsigned long long generation = safestart_generation(run->ss);
	bool restarted = run->phase == RUN_RESTART;

	say_left_out(run, left_out, sizeof(left_out));
	if (run->from_kept)
		message_set(source, sizeof(source), 0, "%s; the %s set stands in: ", run->words,
			    run->inherited ? "inherited" : "last good");
	if (!run->committed) {
		message_set(message, sizeof(message), 0, "%s: %s (generation %llu, %zu nodes)%s",
			    restarted             ? "restart carried out"
			    : left_out[0] != '\0' ? "nothing else to apply"
						  : "nothing to apply",
			    run->ss->source.kind == SOURCE_NONE ? "no node set is kept"
			    : generation == 0                   ? "no set has been pushed yet"
			    : left_out[0] != '\0'               ? "the rest of the set is live"
								: "the set is already live",
			    generation, run->current->count, left_out);
		return conclude(run, restarted ? SAFESTART_APPLIED : SAFESTART_UNCHANGED, 0,
				message);
	}
	count_changes(run, counts);
	message_set(message, sizeof(message), 0,
		    "%sgeneration %llu is live: %zu nodes (%zu added, %zu removed, %zu changed)%s",
		    source, generation, run->candidate->count, counts[SAFESTART_ADDED],
		    counts[SAFESTART_REMOVED], counts[SAFESTART_CHANGED], left_out);
	return conclude(run, SAFESTART_APPLIED, 0, message);
}

void conclude_left(struct safestart_run *run, const char *phase)
{
	char what[32];
	int result = -EPROTO;

	message_set(what, sizeof(what), 0, "%s failed", phase);
	if (step_returned(run, (enum run_phase)atomic_load(&run->phase), &result) == STEP_GO_ON)
		(void)conclude_failure(run, SAFESTART_FAILED, result, what,
				       "a C++ exception or pthread_exit() left it, which no "
				       "callback may do");
	run->over = true;
}
