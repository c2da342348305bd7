/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stress/later_world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct world world;
char what_is_wrong[512];

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
static const char *const documents[] = {
	"[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]",
	"[" NODE("a", "10.0.0.1:2") "," NODE("b", "10.0.0.2:1") "," NODE("c", "10.0.0.3:1") "]",
	"[" NODE("b", "10.0.0.2:1") "," NODE("d", "10.0.0.9:9") "]",
};
const char *const live_after[] = {"a b", "a b c", "b d"};

void wrong(const char *format, ...)
{
	static _Atomic bool told;
	char text[sizeof(what_is_wrong)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (world.is_child)
		dprintf(2, "child: %s\n", text);
	if (!atomic_exchange(&told, true))
		memcpy(what_is_wrong, text, sizeof(text));
}

/* ---- Users and events ---- */

bool use_begin(void)
{
	pthread_mutex_lock(&world.lock);
	bool may = !world.closing && !world.closed;
	world.users += may;
	pthread_mutex_unlock(&world.lock);
	return may;
}

void use_end(void)
{
	pthread_mutex_lock(&world.lock);
	world.users--;
	world.events++;
	pthread_cond_broadcast(&world.changed);
	pthread_mutex_unlock(&world.lock);
}

bool close_begin(void)
{
	pthread_mutex_lock(&world.lock);
	bool mine = !world.closing && !world.closed;
	if (mine) {
		world.closing = true;
		world.events++;
		pthread_cond_broadcast(&world.changed);
	}
	while (mine && world.users > 0)
		pthread_cond_wait(&world.changed, &world.lock);
	pthread_mutex_unlock(&world.lock);
	return mine;
}

void close_end(bool closed)
{
	pthread_mutex_lock(&world.lock);
	world.closing = false;
	world.closed = closed;
	world.events++;
	pthread_cond_broadcast(&world.changed);
	pthread_mutex_unlock(&world.lock);
}

bool is_closing(void)
{
	pthread_mutex_lock(&world.lock);
	bool closing = world.closing;
	pthread_mutex_unlock(&world.lock);
	return closing;
}

bool is_closed(void)
{
	pthread_mutex_lock(&world.lock);
	while (world.closing)
		pthread_cond_wait(&world.changed, &world.lock);
	bool closed = world.closed;
	pthread_mutex_unlock(&world.lock);
	return closed;
}

void happened(void)
{
	pthread_mutex_lock(&world.lock);
	world.events++;
	pthread_cond_broadcast(&world.changed);
	pthread_mutex_unlock(&world.lock);
}

unsigned events_so_far(void)
{
	pthread_mutex_lock(&world.lock);
	unsigned events = world.events;
	pthread_mutex_unlock(&world.lock);
	return events;
}

void await_event(unsigned seen)
{
	pthread_mutex_lock(&world.lock);
	while (world.events == seen)
		pthread_cond_wait(&world.changed, &world.lock);
	pthread_mutex_unlock(&world.lock);
}

void pass_time(void)
{
	world.passing++;
	instants_pass_time(RUN_TIMEOUT_NS + 1000000000);
	world.passes++;
}

/* ---- Tickets and outcomes ---- */

void note_ticket(uint64_t ticket)
{
	if (ticket == 0)
		return;
	int i = atomic_fetch_add(&world.ticket_count, 1);
	if (i < TICKETS)
		world.tickets[i] = ticket;
	for (uint64_t newest = world.newest_ticket;
	     newest < ticket &&
	     !atomic_compare_exchange_weak(&world.newest_ticket, &newest, ticket);) {}
}

uint64_t ask_for(int document)
{
	uint64_t ticket = 0;

	world.document = document;
	if (world.kind.phase == GATHER)
		ticket = safestart_request(world.ss, SAFESTART_URGENT, "the next document");
	else
		safestart_nodes_replace(world.ss, documents[document], &ticket, NULL, 0);
	note_ticket(ticket);
	return ticket;
}

/* The tester's time never passes by itself: each verdict has its reason. [P6] [P14] */
void check_outcome(const struct safestart_outcome *outcome, const char *where)
{
	switch (outcome->verdict) {
	case SAFESTART_APPLIED:
	case SAFESTART_UNCHANGED:
	case SAFESTART_FAILED: break;
	case SAFESTART_TIMED_OUT:
		if (world.passing == 0)
			wrong("%s: run %d timed out, but no time has passed", where,
			      (int)outcome->run);
		break;
	case SAFESTART_CANCELLED:
		if (!world.shutting)
			wrong("%s: run %d cancelled without a shutdown", where, (int)outcome->run);
		break;
	default: wrong("%s: verdict %d: %s", where, outcome->verdict, outcome->message);
	}
	if (outcome->run == 0 && outcome->verdict != SAFESTART_CANCELLED)
		wrong("%s: verdict %d of no run", where, outcome->verdict);
}

/* ---- Data ---- */

struct item *new_item(bool of_node)
{
	int i = atomic_fetch_add(&world.item_count, 1);
	struct item *item = &world.items[i < ITEMS ? i : ITEMS - 1];

	item->of_node = of_node;
	item->handed = true;
	return item;
}

static void check_visible(void *data, int moment)
{
	struct item *item = data;

	if (item != NULL && item->retired > 0)
		wrong("a reader sees data that was retired %s",
		      moment > 0 ? "meanwhile" : "before");
}

void read_for(int moments)
{
	const struct safestart_snapshot *live = safestart_read_lock(world.ss);
	const struct safestart_node *node;

	for (int moment = 0; moment <= moments; moment++) {
		if (moment > 0)
			pause_a_moment();
		check_visible(safestart_snapshot_data(live), moment);
		for (size_t i = 0; (node = safestart_snapshot_at(live, i)) != NULL; i++) {
			check_visible(safestart_node_data(node), moment);
			safestart_node_report(node, i % 2 == 0 ? 0 : -EIO);
		}
	}
	safestart_read_unlock(world.ss);
}

/* ---- LATER, and its finish ---- */

/* Too late, or not: whatever the loop has noticed. A restart follows a set that is live, which a
 * shutdown leaves alone. [P14] */
static void check_finish(const struct later *later, int result, bool had_passed, bool was_shut)
{
	if (result != 0 && result != -ESTALE)
		wrong("finish said %d", result);
	else if (result == 0 && had_passed)
		wrong("finish of phase %d came after the deadline, and counts", later->phase);
	else if (result == 0 && was_shut && later->phase != RESTART)
		wrong("finish of phase %d came after the shutdown, and counts", later->phase);
	else if (result != 0 && !world.shutting && world.passing == 0)
		wrong("finish of phase %d came in time, and does not count", later->phase);
}

int give_document(struct safestart_gather *gather)
{
	int number = atomic_load(&world.document);
	const char *document = documents[number];

	return safestart_gather_json(gather, document, strlen(document));
}

static void finish_locked(struct later *later, int error)
{
	struct run_record *run = &world.runs[later->run % RUNS];
	bool had_passed = world.passes > later->passing, was_shut = world.shut;
	int result;

	if (later->phase == GATHER && error == 0)
		(void)give_document(later->handle);
	world.gather_failed = world.gather_failed || (later->phase == GATHER && error != 0);
	if (later->phase == GATHER) {
		result = safestart_gather_finish(later->handle, error);
	} else {
		if (later->phase == RESTART)
			safestart_run_set_status(later->handle, 7);
		result = safestart_run_finish(later->handle, error);
	}
	later->handle = NULL;
	check_finish(later, result, had_passed, was_shut);
	if (later->phase == GATHER)
		return;
	run->in_time += result == 0;
	run->failed += result == 0 && error != 0;
	run->late += result != 0;
	run->settled = run->settled || (result == 0 && later->settles);
}

static int finish_some(int error, int most)
{
	int finished = 0;

	pthread_mutex_lock(&world.laters_lock);
	for (int i = 0; i < world.later_count && finished < most; i++) {
		if (world.laters[i].handle == NULL)
			continue;
		finish_locked(&world.laters[i], error);
		finished++;
	}
	pthread_mutex_unlock(&world.laters_lock);
	if (finished > 0)
		happened();
	return finished;
}

int finish_all(int error)
{
	return finish_some(error, LATERS);
}

bool finish_one(int error)
{
	return finish_some(error, 1) == 1;
}

int laters_open(void)
{
	int open = 0;

	pthread_mutex_lock(&world.laters_lock);
	for (int i = 0; i < world.later_count; i++)
		open += world.laters[i].handle != NULL;
	pthread_mutex_unlock(&world.laters_lock);
	return open;
}

static int error_of_kind(void)
{
	return world.kind.fails ? -EIO : 0;
}

static bool is_open(const struct later *later)
{
	pthread_mutex_lock(&world.laters_lock);
	bool open = later->handle != NULL;
	pthread_mutex_unlock(&world.laters_lock);
	return open;
}

int answer_later(void *handle, enum phase phase, uint64_t run, int passing)
{
	if (world.kind.phase != phase || world.later_count >= LATERS)
		return 0;
	if (atomic_fetch_sub(&world.laters_left, 1) <= 0)
		return 0;
	pthread_mutex_lock(&world.laters_lock);
	struct later *later = &world.laters[world.later_count];
	*later = (struct later){.handle = handle,
				.phase = phase,
				.run = run,
				.passing = passing,
				.settles = !world.kind.threads && world.kind.finish == BY_TESTER};
	world.runs[run % RUNS].laters += phase != GATHER;
	world.later_count++;
	if (world.kind.finish == BY_ITSELF)
		finish_locked(later, error_of_kind());
	pthread_mutex_unlock(&world.laters_lock);
	happened();
	while (world.kind.finish == BEFORE_RETURN) {
		unsigned seen = events_so_far();
		if (!is_open(later))
			break;
		await_event(seen);
	}
	return SAFESTART_LATER;
}

void finish_what_is_due(void)
{
	bool pass = false;

	if (world.kind.finish == BY_TESTER)
		(void)finish_all(error_of_kind());
	if (world.kind.finish != TOO_LATE && world.kind.finish != NEVER)
		return;
	pthread_mutex_lock(&world.laters_lock);
	for (int i = 0; i < world.later_count; i++) {
		struct later *later = &world.laters[i];
		pass = pass || (later->handle != NULL && !later->expired);
		later->expired = true;
	}
	pthread_mutex_unlock(&world.laters_lock);
	if (pass)
		pass_time();
}
