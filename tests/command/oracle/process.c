/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/epoch.h"
#include "base/message.h"
#include "control/response.h"
#include "copy.h"
#include "fuzz/fuzz.h"
#include "handle.h"
#include "open/fork.h"
#include "run/last_good.h"

static struct copy *all; /* every copy of every process, for fork */

/* What a fork leaves behind in the child: the parent's, which nobody may free. */
static struct safestart_run **left;
static size_t left_count;

/* ---- Fork, in one process ---- */

static void (*before_fork)(void), (*in_child)(void);

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* The library's own handlers are called by process_fork(). */
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	(void)parent;
	before_fork = prepare;
	in_child = child;
	return 0;
}

/* There is one thread, and it reads only for a moment. */
int __wrap_thread_start(pthread_t *thread, const char *name, void *(*function)(void *),
			void *argument);
void __wrap_snapshot_wait_for_readers(void);

int __wrap_thread_start(pthread_t *thread, const char *name, void *(*function)(void *),
			void *argument)
{
	(void)thread;
	(void)name;
	(void)function;
	(void)argument;
	return -EAGAIN;
}

void __wrap_snapshot_wait_for_readers(void)
{
}

/* The library counts forks in a variable of the process. This is the process from here on. */
static void enter(const struct process *process)
{
	atomic_store(&epoch_forks, process->epoch);
}

/* Retries are jittered by an address, which differs from one execution to the next, and from one
 * copy to the other. */
static void make_repeatable(struct copy *copy)
{
	copy->ss->engine.random = copy->process->number * 2654435761u | 1;
}

/* ---- What last_good keeps: files without a disk ---- */

/* Processes of one name that read the same share it. */
static char kept[NAMES][DOCUMENTS + 1][SET_TEXT];

void process_forget_kept(void)
{
	memset(kept, 0, sizeof(kept));
}

int __wrap_last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings,
			  char *why, size_t why_size);
int __wrap_last_good_save(const char *path, const char *json, char *why, size_t why_size);

/* All copies of a process find what was there when it began. */
int __wrap_last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings,
			  char *why, size_t why_size)
{
	const struct copy *copy = all;

	while (handle_settings(copy->ss) != settings)
		copy = copy->next;
	const char *text = copy->process->kept;
	*out = NULL;
	*unread = 0;
	if (text[0] == '\0')
		return message_set(why, why_size, -ENOENT, "nothing was kept");
	return nodeset_parse(out, text, strlen(text), &settings->limits, why, why_size);
}

int __wrap_last_good_save(const char *path, const char *json, char *why, size_t why_size)
{
	unsigned name, source;

	(void)why;
	(void)why_size;
	HOLD(strlen(json) < SET_TEXT && sscanf(path, "/%u/%u", &name, &source) == 2);
	strcpy(kept[name][source], json);
	return 0;
}

/* ---- Life ---- */

const char *name_text(unsigned name)
{
	static const char *const names[] = {"api", "batch", "worker"};

	return names[name];
}

void process_start(struct process *process, unsigned copies)
{
	enter(process);
	HOLD(copies <= COPIES && process->copy_count == 0);
	strcpy(process->kept, kept[process->name][process->source]);
	for (unsigned i = 0; i < copies; i++) {
		struct copy *copy = calloc(1, sizeof(*copy));
		HOLD(copy != NULL);
		copy->process = process;
		copy->next = all;
		all = copy;
		copy_open(copy);
		make_repeatable(copy);
		process->copies[process->copy_count++] = copy;
	}
}

static void close_copy(struct copy *copy)
{
	struct copy **at = &all;

	HOLD(safestart_shutdown(copy->ss) == 0);
	if (copy->postponed != NULL)
		(void)safestart_run_finish(copy->postponed, -ECANCELED);
	for (unsigned i = 0; i < HOLDS; i++)
		safestart_snapshot_release(copy->held[i]);
	HOLD(safestart_close(copy->ss) == 0);
	copy->ss = NULL;
	while (*at != copy)
		at = &(*at)->next;
	*at = copy->next;
	free(copy);
}

void process_end(struct process *process)
{
	enter(process);
	/* Backwards: the first one is looked at until the end. */
	while (process->copy_count > 0)
		close_copy(process->copies[--process->copy_count]);
}

/* As fork() does it, for the child's handles alone: the others are not in its memory. */
static void fork_copies(struct process *child)
{
	for (struct copy *copy = all; copy != NULL; copy = copy->next) {
		if (copy->process != child)
			fork_unregister(copy->ss);
	}
	before_fork();
	in_child();
	for (struct copy *copy = all; copy != NULL; copy = copy->next) {
		if (copy->process == child)
			continue;
		copy->ss->open.next = NULL;
		HOLD(fork_register(copy->ss) == 0);
	}
}

static void leave_run(struct copy *copy)
{
	if (copy->postponed == NULL)
		return;
	left = realloc(left, (left_count + 1) * sizeof(*left));
	HOLD(left != NULL);
	left[left_count++] = copy->postponed;
	copy->postponed = NULL;
}

void process_fork(struct process *process, struct process *child)
{
	unsigned half = process->copy_count / 2, number = child->number;

	HOLD(half > 0);
	enter(process);
	*child = *process;
	child->number = number;
	child->copy_count = half;
	process->copy_count -= half;
	for (unsigned i = 0; i < half; i++) {
		child->copies[i] = process->copies[process->copy_count + i];
		child->copies[i]->process = child;
		leave_run(child->copies[i]);
	}
	fork_copies(child);
	child->epoch = epoch_now();
	for (unsigned i = 0; i < half; i++)
		make_repeatable(child->copies[i]);
	/* Nothing of this is the child's: it has made no request to a node yet, and the threads
	 * that held a snapshot do not exist in it. */
	memset(child->report, 0, sizeof(child->report));
	memset(child->holds, 0, sizeof(child->holds));
	child->open_run = false;
	child->serves = child->hidden = child->inherited = true;
}

/* ---- Steps: each of them with all copies ---- */

#define EACH(process, copy)                                                                    \
	struct copy *copy = (enter(process), (process)->copies[0]), **at_ = (process)->copies; \
	at_ < (process)->copies + (process)->copy_count && (copy = *at_, true);                \
	at_++

void process_revive(struct process *process)
{
	for (EACH(process, copy))
		HOLD(safestart_after_fork(copy->ss) == 0);
	process->hidden = false;
}

void process_turn(struct process *process)
{
	for (EACH(process, copy)) {
		for (int i = 0; i < 4; i++) {
			int result = safestart_dispatch(copy->ss, 0);
			HOLD(result == 0 || (result == -ECANCELED && process->shut));
		}
		copy_observe(copy);
	}
}

void process_request(struct process *process, uint32_t flags)
{
	for (EACH(process, copy))
		HOLD((safestart_request(copy->ss, flags, NULL) != 0) == !process->shut);
}

static bool take(const struct process *process, int error)
{
	HOLD(error == (process->shut ? -ECANCELED : 0));
	return error == 0;
}

void process_push(struct process *process, const struct set *pushed)
{
	char text[SET_TEXT];

	set_text(pushed, text);
	for (EACH(process, copy)) {
		if (!take(process, safestart_nodes_replace(copy->ss, text, NULL, NULL, 0)))
			return;
	}
	process->desired = *pushed;
	process->has_desired = true;
}

void process_announce(struct process *process, int id, unsigned address, unsigned incarnation)
{
	uint8_t entry = entry_announced(process->desired.entry[id], address, incarnation);
	char text[64];

	entry_address(id, entry, text, sizeof(text));
	for (EACH(process, copy)) {
		if (!take(process,
			  safestart_node_announce(copy->ss, set_id(id), text,
						  incarnation != 0 ? entry_incarnation(entry)
								   : NULL,
						  NULL)))
			return;
	}
	process->desired.entry[id] = entry;
}

void process_withdraw(struct process *process, int id)
{
	for (EACH(process, copy)) {
		if (!take(process, safestart_node_withdraw(copy->ss, set_id(id), NULL)))
			return;
	}
	process->desired.entry[id] = ABSENT;
}

void process_finish(struct process *process, int error)
{
	for (EACH(process, copy)) {
		struct safestart_run *run = copy->postponed;
		copy->postponed = NULL;
		if (run != NULL)
			(void)safestart_run_finish(run, error);
	}
}

void process_report(struct process *process, int id, int how)
{
	for (EACH(process, copy)) {
		const struct safestart_snapshot *live = safestart_read_lock(copy->ss);
		const struct safestart_node *node = safestart_snapshot_find(live, set_id(id));
		HOLD(node != NULL);
		HOLD(safestart_node_report(node, how == GOOD ? 0 : -ECONNREFUSED) == 0);
		safestart_read_unlock(copy->ss);
	}
	process->report[id] = how;
}

void process_hold(struct process *process, unsigned slot)
{
	/* One that it has inherited from a thread of its parent is never released. */
	for (EACH(process, copy)) {
		if (copy->held[slot] != NULL)
			return;
		copy->held[slot] = safestart_snapshot_acquire(copy->ss);
	}
	process->held[slot] = process->live;
	process->holds[slot] = true;
}

void process_release(struct process *process, unsigned slot)
{
	for (EACH(process, copy)) {
		safestart_snapshot_release(copy->held[slot]);
		copy->held[slot] = NULL;
	}
	process->holds[slot] = false;
}

void process_shut(struct process *process)
{
	for (EACH(process, copy))
		HOLD(safestart_shutdown(copy->ss) == 0);
	process->shut = true;
}

/* As its control thread does it; the first copy speaks for all. */
char *process_ask(struct process *process, const char *question)
{
	struct json_buffer answer = {0};
	struct response_pending pending = {0};

	enter(process);
	response_answer(process->copies[0]->ss, geteuid(), true, question, strlen(question),
			&answer, &pending);
	HOLD(!answer.failed && answer.length > 0 && pending.kind == RESPONSE_COMPLETE);
	answer.text[answer.length - 1] = '\0'; /* in place of the newline */
	return answer.text;
}
