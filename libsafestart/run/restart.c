/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* restart: the last phase of a run: whether the application's `restart` is called, and what follows
 * from how it ended. Worker, no lock held. */
#include "run/restart.h"

#include "run/conclusion.h"
#include "run/last_good.h"

/* `restart` is carried out once for a request, a hint or a set. A reconcile that found nothing new
 * must not restart anything every 30 s, nor a retry that is only for a node that was rejected. */
static bool wants_restart(const struct safestart_run *run)
{
	return run->asked || run->committed ||
	       (run->retry &&
		atomic_load_explicit(&run->ss->run.restart_owed, memory_order_relaxed));
}

enum run_phase restart_or_end(struct safestart_run *run)
{
	/* A retry that was only meant to read last_good, and still could not. */
	bool for_kept = run->kept_later && run->wanted == NULL && run->batch.requests == 0;

	if (run->ss->conf->callbacks.restart == NULL || !wants_restart(run) || for_kept)
		return conclude_success(run);
	/* Before, for `restart` may never return, and what is live has to be kept all the same.
	 * [P9] */
	if (run->keep) {
		run->keep = false;
		last_good_write(run->ss);
	}
	atomic_store_explicit(&run->ss->run.restart_owed, true, memory_order_relaxed);
	return RUN_RESTART;
}

int restart_call(struct safestart_run *run)
{
	return run->ss->conf->callbacks.restart(run, run->ss->conf->user_data);
}

enum run_phase restart_returned(struct safestart_run *run, int result)
{
	if (result < 0)
		return conclude_failure(run, SAFESTART_FAILED, result, "restart failed",
					run_error_words(run, result));
	atomic_store_explicit(&run->ss->run.restart_owed, false, memory_order_relaxed);
	return conclude_success(run);
}
