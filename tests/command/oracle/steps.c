/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "steps.h"

#include <stdio.h>
#include <string.h>

#include "fuzz/virtual.h"
#include "judge.h"

#define MS INT64_C(1000000)

/* ---- Which process ---- */

static unsigned newest; /* number of the newest process */

void host_begin(void)
{
	memset(&host, 0, sizeof(host));
	newest = 0;
}

static struct process *free_slot(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (host.process[i].number == 0)
			return &host.process[i];
	}
	return NULL;
}

static bool runs(const struct process *process)
{
	return is_there(process) && process->state == RUNNING;
}

static bool answers(const struct process *process)
{
	return runs(process) && !process->hidden;
}

static bool is_hidden(const struct process *process)
{
	return runs(process) && process->hidden;
}

static bool may_fork(const struct process *process)
{
	return runs(process) && process->copy_count > 1;
}

static bool may_stop(const struct process *process)
{
	return is_there(process) && !process->hidden;
}

static bool may_shut(const struct process *process)
{
	return answers(process) && !process->shut;
}

static bool was_killed(const struct process *process)
{
	return process->number != 0 && process->state == KILLED;
}

static bool is_pushed(const struct process *process)
{
	return answers(process) && process->source == PUSHED;
}

static bool was_pushed(const struct process *process)
{
	return is_pushed(process) && process->has_desired;
}

/* NULL: there is none. */
static struct process *any(bool (*fits)(const struct process *process))
{
	struct process *found[SLOTS];
	unsigned count = 0;

	for (int i = 0; i < SLOTS; i++) {
		if (fits(&host.process[i]))
			found[count++] = &host.process[i];
	}
	return count > 0 ? found[below(count)] : NULL;
}

/* ---- Steps ---- */

void host_start(struct process *process, unsigned name, unsigned source)
{
	*process = (struct process){.number = ++newest,
				    .name = name,
				    .source = source,
				    .owner = USER,
				    .serves = !one_in(8),
				    .old = one_in(12)};
	process_start(process, 1u << below(3));
	say("process %u (%s) starts, source %u%s%s", process->number, name_text(name), source,
	    process->serves ? "" : ", serves=no", process->old ? ", of an old version" : "");
}

void host_add(void)
{
	struct process *process = free_slot();
	unsigned name = below(NAMES);

	if (process != NULL)
		host_start(process, name,
			   one_in(10) ? below(DOCUMENTS + 1) : name % (DOCUMENTS + 1));
}

/* Gone in an orderly way: it leaves no socket. */
static void end_one(void)
{
	struct process *process = any(runs);

	if (process == NULL)
		return;
	say("process %u ends", process->number);
	process_end(process);
	process->number = 0;
}

static void restart_one(void)
{
	struct process *process = any(runs);

	if (process == NULL)
		return;
	unsigned before = process->number;
	process_end(process);
	host_start(process, process->name, process->source);
	say("process %u (%s) is restarted as %u", before, name_text(process->name),
	    process->number);
}

static void kill_one(void)
{
	struct process *process = any(is_there);

	if (process == NULL)
		return;
	say("process %u is killed", process->number);
	process_end(process);
	process->state = KILLED;
	if (process->hidden) /* it has no socket yet */
		process->number = 0;
}

/* The socket of a killed process is removed after a while. */
static void forget_killed(void)
{
	struct process *process = any(was_killed);

	if (process == NULL)
		return;
	say("the socket of process %u is removed", process->number);
	process->number = 0;
}

static void fork_one(void)
{
	struct process *process = any(may_fork), *child = free_slot();

	if (process == NULL || child == NULL)
		return;
	child->number = ++newest;
	process_fork(process, child);
	say("process %u forks %u", process->number, child->number);
}

static void revive_one(void)
{
	struct process *process = any(is_hidden);

	if (process == NULL)
		return;
	process_revive(process);
	say("process %u makes its handle its own", process->number);
}

static void stop_one(void)
{
	struct process *process = any(may_stop);

	/* Most of them run most of the time. */
	if (process == NULL || (process->state == RUNNING && !one_in(5)))
		return;
	process->state = process->state == STOPPED ? RUNNING : STOPPED;
	say("process %u %s", process->number,
	    process->state == STOPPED ? "is stopped" : "continues");
}

static void turn_one(void)
{
	struct process *process = any(answers);

	if (process == NULL)
		return;
	process_turn(process);
	say("process %u works", process->number);
}

static void turn_all(void)
{
	for (int i = 0; i < SLOTS; i++) {
		struct process *process = &host.process[i];
		if (is_there(process) && process->state == RUNNING && !process->hidden)
			process_turn(process);
	}
	say("all processes work");
}

static void request_one(void)
{
	struct process *process = any(runs);
	uint32_t flags = below(4);

	if (process == NULL)
		return;
	process_request(process, flags);
	say("process %u is asked to read, flags %u", process->number, flags);
}

static void request_all(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (is_there(&host.process[i]))
			process_request(&host.process[i], 0);
	}
	say("all processes are asked to read");
}

/* Announced, withdrawn, drained, or damaged. */
static void edit_document(void)
{
	unsigned which = below(DOCUMENTS);
	int id = (int)below(IDS);
	uint8_t *entry = &documents[which].set.entry[id], before = *entry;
	char words[100];

	switch (below(8)) {
	case 0: *entry = ABSENT; break;
	case 1: *entry = one_in(3) ? BROKEN : ABSENT; break;
	case 2:
	case 3: *entry = entry_announced(before, below(3), below(4)); break;
	default: *entry = entry_random(); break;
	}
	entry_words(*entry, words, sizeof(words));
	say("document %u says of %s: %s", which, set_id(id), words);
}

static void damage_document(void)
{
	unsigned which = below(DOCUMENTS);

	documents[which].state = documents[which].state != FINE ? FINE
				 : one_in(2)                    ? UNREADABLE
								: MALFORMED;
	say("document %u is %s", which,
	    documents[which].state == FINE         ? "fine again"
	    : documents[which].state == UNREADABLE ? "unreadable"
						   : "malformed");
}

struct set host_any_set(void)
{
	struct set set = {{ABSENT}};

	for (int id = 0; id < IDS; id++) {
		if (!one_in(3))
			set.entry[id] = one_in(12) ? BROKEN : entry_random();
	}
	return set;
}

static void push_one(void)
{
	struct process *process = any(is_pushed);
	struct set set = host_any_set();

	if (process == NULL)
		return;
	process_push(process, &set);
	say("process %u is given %zu nodes", process->number, set_size(&set));
}

static void announce_one(void)
{
	struct process *process = any(was_pushed);
	int id = (int)below(IDS);
	unsigned address = below(3), incarnation = below(4);

	if (process == NULL)
		return;
	process_announce(process, id, address, incarnation);
	say("process %u is announced %s at address %u, incarnation %u", process->number, set_id(id),
	    address, incarnation);
}

static void withdraw_one(void)
{
	struct process *process = any(was_pushed);
	int id = (int)below(IDS);

	if (process == NULL || process->desired.entry[id] == ABSENT)
		return;
	process_withdraw(process, id);
	say("process %u is told to give up %s", process->number, set_id(id));
}

static void report_one(void)
{
	struct process *process = any(runs);
	int id = (int)below(IDS);
	int how = one_in(4) ? BAD : GOOD;

	if (process == NULL || process->live.entry[id] == ABSENT)
		return;
	process_report(process, id, how);
	say("a request of process %u to %s %s", process->number, set_id(id),
	    how == GOOD ? "works" : "fails");
}

/* Without so many good ones no node would ever be available. */
static void report_many(void)
{
	for (int i = 0; i < SLOTS; i++) {
		struct process *process = &host.process[i];
		for (int id = 0; id < IDS; id++) {
			if (is_there(process) && process->state == RUNNING &&
			    process->live.entry[id] != ABSENT && !one_in(20))
				process_report(process, id, GOOD);
		}
	}
	say("requests of all processes to most nodes work");
}

static void change_application(void)
{
	struct process *process = any(runs);

	if (process == NULL)
		return;
	process->fails = one_in(4);
	process->postpones = one_in(4);
	process->rejects = one_in(3) ? 1u << below(IDS) : 0;
	say("prepare of process %u %s%s, rejects %#x", process->number,
	    process->fails ? "fails" : "works", process->postpones ? " later" : "",
	    process->rejects);
}

static void finish_one(void)
{
	struct process *process = any(answers);
	int error = one_in(3) ? -5 : 0;

	if (process == NULL)
		return;
	process_finish(process, error);
	say("process %u finishes what it has postponed: %d", process->number, error);
}

static void hold_one(void)
{
	struct process *process = any(runs);
	unsigned slot = below(HOLDS);

	if (process == NULL)
		return;
	if (process->holds[slot])
		process_release(process, slot);
	else
		process_hold(process, slot);
	say("process %u %s the live set (%u)", process->number,
	    process->holds[slot] ? "holds" : "does not hold any more", slot);
}

static void shut_one(void)
{
	struct process *process = any(may_shut);

	if (process == NULL)
		return;
	process_shut(process);
	say("process %u is shut down, and serves on", process->number);
}

unsigned host_serving(unsigned name)
{
	unsigned count = 0;

	for (int i = 0; i < SLOTS; i++)
		count += is_there(&host.process[i]) && host.process[i].name == name &&
			 host.process[i].serves;
	return count;
}

static void change_roster(void)
{
	char words[100] = "";
	size_t length = 0;

	for (unsigned name = 0; name < NAMES; name++) {
		host.listed[name] = !one_in(3);
		host.roster[name] = one_in(8) ? 0 : host_serving(name) + (one_in(4) ? 1 : 0);
		if (host.listed[name])
			length += (size_t)snprintf(words + length, sizeof(words) - length, " %s=%u",
						   name_text(name), host.roster[name]);
	}
	say("the roster says%s", length > 0 ? words : " nothing");
}

static void pretend(void)
{
	host.pretender.there = !host.pretender.there && one_in(2);
	host.pretender.name = below(NAMES);
	say("another user %s", host.pretender.there ? "puts a socket there" : "has no socket");
}

static void pass_time(void)
{
	static const int64_t times[] = {MS, 100 * MS, SECOND, 10 * SECOND, 60 * SECOND};
	int64_t time = times[below(sizeof(times) / sizeof(times[0]))];

	virtual_advance(time);
	say("%lld ms pass", (long long)(time / MS));
}

/* ---- One after another ---- */

static const struct {
	void (*take)(void);
	unsigned weight;
} kinds[] = {
	{host_add, 2},       {end_one, 1},         {restart_one, 3},        {kill_one, 1},
	{forget_killed, 1},  {fork_one, 6},        {revive_one, 3},         {stop_one, 3},
	{turn_one, 16},      {turn_all, 10},       {request_one, 5},        {request_all, 5},
	{edit_document, 12}, {push_one, 1},        {announce_one, 4},       {withdraw_one, 2},
	{report_one, 12},    {report_many, 12},    {change_application, 4}, {finish_one, 6},
	{hold_one, 6},       {shut_one, 1},        {change_roster, 5},      {pretend, 2},
	{pass_time, 8},      {damage_document, 2},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

void host_step(void)
{
	unsigned all = 0, drawn;
	size_t kind = 0;

	for (size_t i = 0; i < KINDS; i++)
		all += kinds[i].weight;
	for (drawn = below(all); drawn >= kinds[kind].weight; kind++)
		drawn -= kinds[kind].weight;
	kinds[kind].take();
}
