/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* caller: one process that asks for a command with `safestart run`. It is a handle of the library
 * without nodes, with a lock whose outcomes are shared (lock_share=yes), whose `restart` callback
 * is the command. The verb fills in options, arguments, signals and command lock, and leaves the
 * rest zero. */
#ifndef SAFESTART_COMMAND_CALLER_H
#define SAFESTART_COMMAND_CALLER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "run/supervisor.h"

#define EXIT_TIMED_OUT 124 /* as timeout(1) and env(1) have them */
#define EXIT_INTERNAL 125

/* Durations in nanoseconds. */
struct run_options {
	const char *name, *lock_dir;
	int64_t debounce, max_delay, timeout, wait_timeout;
	bool no_wait, quiet;
};

struct caller {
	const struct run_options *options;
	char **arguments;
	struct safestart *ss;
	uint64_t ticket;
	sigset_t mask; /* as inherited; the command gets them unchanged */
	struct sigaction child;
	int signals;
	int command_lock;
	struct supervisor supervisor;
	struct safestart_run *run; /* a run that this caller leads, not finished */
	bool leader;               /* it led a run */
	bool started;              /* and started the command */
	bool failed;               /* or reported why it could not */
	int64_t term_at;           /* when SIGTERM was sent to the command; 0: not */
	bool killed;
	bool reported_left; /* reported that the command of a killed caller is still running */
	/* When to report for which caller this one waits; 0: done, or not wanted. */
	int64_t report_at;
	int status; /* the exit code of the command that it started */
	bool lost;  /* the supervisor was killed: how the command ended is not known */
	int64_t asked_at;
	bool expired;      /* it has waited for --wait-timeout */
	int signal;        /* a signal that ends this caller; 0: none */
	char warning[512]; /* the last warning of the library that was reported */
	bool closing;      /* everything was reported; the log callback stays silent */
};

/* Asks for the command under this name and lock, and waits. Returns the exit code; everything is
 * reported. */
int caller_ask(struct caller *caller, const char *name, const char *lock);

#endif
