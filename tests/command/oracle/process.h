/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process: a simulated process: a handle with thread=no, what its application does, and what is
 * true of it. The truth is taken from what a reader of the handle gets, from what the source handed
 * over, and from the application's own reports: never from what the library says of them. */
#ifndef ORACLE_PROCESS_H
#define ORACLE_PROCESS_H

#include "sets.h"

/* A handle cannot be copied as fork() copies it. So a process that may fork has two or four from
 * its beginning, takes each step with all of them, and gives half of them to its child. */
#define COPIES 4
#define HOLDS 2 /* snapshots that requests of a process hold at a time */

/* What a name's processes read; PUSHED: nothing, it is given to them. */
#define DOCUMENTS 2
#define PUSHED DOCUMENTS

struct copy;

struct process {
	unsigned number; /* its pid; 0: the slot is free */
	unsigned name;
	unsigned owner; /* user who runs it */
	unsigned source;
	enum {
		RUNNING,
		STOPPED,
		KILLED
	} state;
	bool serves;
	bool hidden; /* forked, and its handle is not its own yet: it has no socket */
	bool old;    /* its library is older than the command */
	bool shut;   /* it was shut down, and is still serving */
	uint32_t epoch;
	struct copy *copies[COPIES];
	unsigned copy_count;
	char kept[SET_TEXT]; /* what it finds of a process before it */

	/* What its callbacks do. */
	bool fails, postpones;
	unsigned rejects; /* bit by id */

	/* The truth. */
	struct set live, desired;
	uint64_t generation;
	/* It is a child, and what is live was prepared by its parent. What its own run puts live is
	 * prepared anew, so that reports from before it prove nothing. */
	bool inherited;
	bool has_desired;
	int report[IDS]; /* newest one since the entry is live, in this process: 0, GOOD, BAD */
	bool went_wrong; /* the newest run */
	bool open_run;   /* a run of `prepare` is not finished */
	unsigned runs;
	struct set held[HOLDS];
	bool holds[HOLDS];
};

enum {
	GOOD = 1,
	BAD = 2
};

/* What the documents say; a run that reads one that is unreadable or malformed fails. */
struct document {
	struct set set;
	enum {
		FINE,
		UNREADABLE,
		MALFORMED
	} state;
};
extern struct document documents[DOCUMENTS];

/* Opens it with `copies` handles. What last_good keeps for its name and source is read. */
void process_start(struct process *process, unsigned copies);
/* Closes its handles; the slot stays as it is. */
void process_end(struct process *process);
/* Gives half of its copies to the child, whose slot is free. */
void process_fork(struct process *process, struct process *child);
void process_revive(struct process *process);

void process_turn(struct process *process); /* its event loop runs */
void process_request(struct process *process, uint32_t flags);
void process_push(struct process *process, const struct set *set);
void process_announce(struct process *process, int id, unsigned address, unsigned incarnation);
void process_withdraw(struct process *process, int id);
void process_finish(struct process *process, int error); /* the run that was postponed */
void process_report(struct process *process, int id, int how);
void process_hold(struct process *process, unsigned slot);
void process_release(struct process *process, unsigned slot);
void process_shut(struct process *process);

/* What it answers at its socket; free() it. */
char *process_ask(struct process *process, const char *question);

#define NAMES 3
const char *name_text(unsigned name);

/* Nothing is kept any more of a process before. */
void process_forget_kept(void);

#endif
