/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork: the handle, continued. Every handle of this copy of the library is in one list, the only
 * one that fork handling needs. Before a fork all locks are taken, so that none is held by a thread
 * the child does not have; the dispatching thread's and the worker's own data may be torn in the
 * middle of a change, so the child begins with fresh data instead of trusting it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "control/control.h"
#include "engine/engine.h"
#include "open/fork.h"
#include "run/run.h"
#include "snapshot/copies.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct safestart *list; /* guarded by list_lock */

/* In the order of the locks (handle.h), for all handles: what another thread holds at the fork
 * would stay locked in the child for ever. [P17] */
static void lock_handles(void)
{
	pthread_mutex_lock(&list_lock);
	for (struct safestart *ss = list; ss != NULL; ss = ss->open.next) {
		pthread_mutex_lock(&ss->source.push.lock);
		pthread_mutex_lock(&ss->lock);
		worker_before_fork(&ss->worker);
		control_before_fork(ss->control);
		events_before_fork(ss->events);
		mailbox_before_fork(ss->mailbox);
		snapshot_before_fork(ss->home);
		lock_file_before_fork(&ss->engine.process_lock.file);
	}
}

static void unlock_handles(void)
{
	for (struct safestart *ss = list; ss != NULL; ss = ss->open.next) {
		lock_file_after_fork_parent(&ss->engine.process_lock.file);
		snapshot_after_fork_parent(ss->home);
		mailbox_after_fork_parent(ss->mailbox);
		events_after_fork_parent(ss->events);
		control_after_fork_parent(ss->control);
		worker_after_fork_parent(&ss->worker);
		pthread_mutex_unlock(&ss->lock);
		pthread_mutex_unlock(&ss->source.push.lock);
	}
	pthread_mutex_unlock(&list_lock);
}

static int own_descriptors(struct safestart *ss)
{
	int error = loop_after_fork(&ss->loop);

	return error == 0 ? mailbox_own_socket(ss->mailbox) : error;
}

/* From the ground up, and no system call that could be refused but for the descriptors: what fails
 * here is tried again by fork_revive(). */
static void make_own(struct safestart *ss)
{
	lock_file_after_fork_child(&ss->engine.process_lock.file);
	snapshot_after_fork_child(ss->home, &ss->view);
	mailbox_after_fork_child(ss->mailbox);
	events_after_fork_child(ss->events);
	control_after_fork_child(ss->control);
	bool torn = worker_after_fork_child(&ss->worker);
	ss->source.inherited = true;
	/* A master's `serves=no` is of the master: a child that is revived is there to serve. [P22]
	 */
	ss->conf->settings.serves = true;
	ss->source.torn = ss->source.torn || torn || ss->run.gathers_owed > 0;
	run_part_after_fork_child(&ss->run, torn);
	request_after_fork(&ss->door);
	dispatch_after_fork_child(ss);
	invariant(!ss->engine.dispatching && ss->run.current == NULL);
	ss->open.fork_error = own_descriptors(ss);
	thread_cond_init(&ss->changed); /* its waiters do not exist here */
	pthread_mutex_unlock(&ss->lock);
	pthread_mutex_unlock(&ss->source.push.lock);
}

static void make_handles_own(void)
{
	epoch_begin();
	callback_forget_all();
	for (struct safestart *ss = list; ss != NULL; ss = ss->open.next)
		make_own(ss);
	pthread_mutex_unlock(&list_lock);
}

/* ---- All copies of the library in this process: the handlers of one of them ---- */

static void before_fork(void)
{
	snapshot_pause_graces();
	pthread_mutex_lock(&copies->lock);
	for (struct copy *copy = copies->first; copy != NULL; copy = copy->next)
		copy->before_fork();
	snapshot_rcu_before_fork();
}

static void after_fork_parent(void)
{
	snapshot_rcu_after_fork_parent();
	for (struct copy *copy = copies->first; copy != NULL; copy = copy->next)
		copy->after_fork_parent();
	pthread_mutex_unlock(&copies->lock);
}

static void after_fork_child(void)
{
	snapshot_rcu_after_fork_child();
	for (struct copy *copy = copies->first; copy != NULL; copy = copy->next)
		copy->after_fork_child();
	pthread_mutex_unlock(&copies->lock);
}

static void register_handlers(void)
{
	if (!atomic_load(&copies->registered))
		atomic_store(&copies->registered,
			     pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0);
}

/* Before this copy's first handle is in its list. Not undone: a copy stays loaded. */
static void join_copies(void)
{
	static struct copy own = {.before_fork = lock_handles,
				  .after_fork_parent = unlock_handles,
				  .after_fork_child = make_handles_own};

	pthread_mutex_lock(&copies->lock);
	own.next = copies->first;
	copies->first = &own;
	pthread_mutex_unlock(&copies->lock);
}

int fork_register(struct safestart *ss)
{
	static pthread_once_t joined = PTHREAD_ONCE_INIT;

	/* Once, for that survives a fork in the middle of it; and again if there was no memory
	 * then. */
	pthread_once(&copies->once, register_handlers);
	if (!atomic_load(&copies->registered)) {
		pthread_mutex_lock(&copies->again);
		register_handlers();
		pthread_mutex_unlock(&copies->again);
	}
	if (!atomic_load(&copies->registered))
		return -ENOMEM;
	pthread_once(&joined, join_copies);
	pthread_mutex_lock(&list_lock);
	invariant(ss->open.next == NULL && ss != list);
	ss->open.next = list;
	list = ss;
	pthread_mutex_unlock(&list_lock);
	return 0;
}

void fork_unregister(struct safestart *ss)
{
	pthread_mutex_lock(&list_lock);
	for (struct safestart **at = &list; *at != NULL; at = &(*at)->open.next) {
		if (*at == ss) {
			*at = ss->open.next;
			break;
		}
	}
	pthread_mutex_unlock(&list_lock);
}

/* What fails is begun again by the next call. */
static int start_locked(struct safestart *ss)
{
	if (ss->open.fork_error < 0)
		ss->open.fork_error = own_descriptors(ss);
	if (ss->open.fork_error < 0)
		return ss->open.fork_error;
	handle_wake(ss);
	bool shut = request_is_shut(&ss->door);
	ss->engine.driven = shut || !handle_settings(ss)->thread;
	/* Shut down before the fork: nothing is left to do, but to close it. The run that was to
	 * answer the last tickets is the parent's. [P6] */
	if (shut) {
		outcome_cancel_tickets_locked(ss);
		return 0;
	}
	int error = control_start(ss);
	if (error < 0)
		return error;
	return ss->engine.driven ? 0 : dispatch_start(ss);
}

/* Threads of the child may come here at the same moment: the first does it, under the handle's
 * lock. */
int fork_start(struct safestart *ss)
{
	uint32_t epoch = epoch_now();
	int error = 0;

	if (atomic_load_explicit(&ss->open.epoch, memory_order_acquire) == epoch)
		return 0;
	THREAD_NOT_CANCELLED;
	pthread_mutex_lock(&ss->lock);
	if (atomic_load_explicit(&ss->open.epoch, memory_order_relaxed) != epoch) {
		error = start_locked(ss);
		if (error == 0) {
			ss->home->epoch = epoch;
			atomic_store_explicit(&ss->open.epoch, epoch, memory_order_release);
		}
	}
	pthread_mutex_unlock(&ss->lock);
	return error;
}

int fork_revive(struct safestart *ss)
{
	if (atomic_load_explicit(&ss->open.epoch, memory_order_acquire) == epoch_now())
		return 0;
	return handle_settings(ss)->start_after_fork ? 1 : fork_start(ss);
}

/* Nothing of the child reads the settings before it is revived, and the handle's lock keeps it so.
 */
static int set_locked(struct safestart *ss, const char *key, const char *value, char *why,
		      size_t why_size)
{
	if (atomic_load_explicit(&ss->open.epoch, memory_order_relaxed) == epoch_now())
		return message_set(why, why_size, -EBUSY,
				   "the handle is this process's own already: set %.40s in a "
				   "forked "
				   "child, before safestart_after_fork()",
				   key);
	if (control_is_started(ss))
		return message_set(why, why_size, -EBUSY,
				   "safestart_after_fork() has begun to make the handle this "
				   "process's own: set %.40s before it",
				   key);
	bool had_control = ss->control != NULL;
	int error = strcmp(key, "control") == 0 ? control_init(ss, value, why, why_size) : 0;
	if (error == 0)
		error = conf_set_in_child(ss->conf, key, value, why, why_size);
	if (error < 0 && !had_control)
		control_clear(ss);
	ss->log.name = handle_settings(ss)->name;
	ss->log.events = ss->events;
	return error;
}

int safestart_after_fork_set(struct safestart *ss, const char *key, const char *value, char *why,
			     size_t why_size)
{
	message_set(why, why_size, 0, "%s", "");
	if (ss == NULL || key == NULL || value == NULL)
		return message_set(why, why_size, -EINVAL, "ss, key and value must not be NULL");
	THREAD_NOT_CANCELLED;
	pthread_mutex_lock(&ss->lock);
	int error = set_locked(ss, key, value, why, why_size);
	pthread_mutex_unlock(&ss->lock);
	return error;
}

int safestart_after_fork(struct safestart *ss)
{
	return ss != NULL ? fork_start(ss) : -EINVAL;
}

/* With start=after_fork no process drives it at first. */
int safestart_forked(const struct safestart *ss)
{
	if (ss == NULL)
		return -EINVAL;
	uint32_t driven_by = atomic_load_explicit(&ss->open.epoch, memory_order_relaxed);

	return (driven_by != EPOCH_NONE ? driven_by : ss->open.opened_in) != epoch_now();
}
