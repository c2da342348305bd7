/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* last_good: when the kept set stands in for a source, and when what is live is kept. Worker, no
 * lock held: reading and writing the file may take long. */
#include "run/last_good.h"

#include <errno.h>
#include <string.h>

#include "base/message.h"

struct nodeset *last_good_stand_in(struct safestart_run *run)
{
	struct safestart *ss = run->ss;
	const struct settings *settings = handle_settings(ss);
	struct nodeset *kept = NULL;

	if (settings->last_good == NULL || safestart_generation(ss) > 0)
		return NULL;
	int error = last_good_load(&kept, &run->kept_unread, settings, run->kept_why,
				   sizeof(run->kept_why));
	run->kept_error = error;
	run->kept_later = error < 0 && error != -ENOENT && !run_is_refusal(error);
	if (error < 0 && error != -ENOENT && !ss->run.memory.kept_tried)
		log_line(&ss->log, LOG_ERR,
			 "cannot use last_good: %s; a set that is smaller than it is applied only "
			 "when forced (last_good=%s)",
			 run->kept_why, settings->last_good);
	ss->run.memory.kept_tried = true;
	return kept;
}

/* 0: not by itself. Not once it is shut down: at its end close has nothing live, and that is not a
 * set to keep. */
int64_t last_good_pause(const struct safestart *ss)
{
	const struct gate_conf *gate = &handle_settings(ss)->gate;

	return gate->retry_min > 0 && !request_is_shut(&ss->door) ? gate->retry_max : 0;
}

static void say_not_kept(struct safestart *ss, uint32_t failures, const char *why)
{
	int64_t pause = last_good_pause(ss);
	const char *otherwise = request_is_shut(&ss->door) ? "not retried: the handle is shut down"
							   : "retrying after the next change";

	log_line(&ss->log, log_repeated(LOG_WARNING, failures),
		 "last_good is not up to date: %s; a process start would begin with an older set; "
		 "%s%s (last_good=%s)",
		 why, pause > 0 ? "retrying in " : otherwise,
		 pause > 0 ? message_duration(pause).text : "", handle_settings(ss)->last_good);
}

/* What is live now, which may be newer than the run that asked for it. Each generation is written
 * whole, so the file always holds one that was live. [P9] */
void last_good_write(struct safestart *ss)
{
	const char *path = handle_settings(ss)->last_good;
	struct callback_frame frame;
	char why[sizeof(ss->run.last_good_error)] = "";

	callback_enter(&frame, ss, &ss->worker, "writing last_good", 0, loop_now());
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	char *json = safestart_snapshot_json(live);
	int error;
	if (json == NULL)
		error = message_set(why, sizeof(why), -ENOMEM, "out of memory");
	else if (strlen(json) > last_good_max_bytes(handle_settings(ss)))
		error = message_set(why, sizeof(why), -E2BIG,
				    "it would have %zu bytes, too many to be read again; raise "
				    "max_bytes",
				    strlen(json));
	else
		error = last_good_save(path, json, why, sizeof(why));
	safestart_free(json);
	safestart_snapshot_release(live);
	callback_leave(&frame, &ss->worker);
	uint32_t failures = error < 0 ? atomic_load(&ss->run.last_good_failures) + 1 : 0;
	atomic_store(&ss->run.last_good_failures, failures);
	if (error < 0)
		say_not_kept(ss, failures, why);
	pthread_mutex_lock(&ss->lock);
	message_copy(ss->run.last_good_error, sizeof(ss->run.last_good_error), why);
	pthread_mutex_unlock(&ss->lock);
}
