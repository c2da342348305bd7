/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* judge: asks the processes of the host as the command does it, lets the command judge their
 * answers, and compares that with what is true. */
#ifndef ORACLE_JUDGE_H
#define ORACLE_JUDGE_H

#include "process.h"

#define SLOTS 9
#define USER 1000
#define STRANGER 666

struct host {
	struct process process[SLOTS];
	/* A socket of another user, with an answer that was copied from a process of that name. */
	struct {
		bool there;
		unsigned name;
	} pretender;
	/* If no name is listed, there is no roster, and all names count. */
	bool listed[NAMES];
	unsigned roster[NAMES];
};
extern struct host host;

bool is_there(const struct process *process); /* it was not killed */

/* One id, in every way that `wait` can ask for it. `settled`: nothing is on its way any more, so it
 * has to be said, too, that a node is gone. */
void judge_node(int id, bool settled);
/* `status`, of all names. `settled`: all is well, and has to be called so. */
void judge_status(bool settled);

/* Verdicts that were true so far. A test in which it never says yes would prove nothing. */
struct judged {
	unsigned long available, lacking, gone, not_gone, well, not_well;
};
extern struct judged judged;

#endif
