/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* steps: what happens on a host, one thing at a time, each with a line that says it. */
#ifndef ORACLE_STEPS_H
#define ORACLE_STEPS_H

#include "process.h"

void host_begin(void); /* a host without processes */
void host_add(void);   /* one more process begins */
void host_step(void);  /* anything else, at random */

/* A process begins in this slot. */
void host_start(struct process *process, unsigned name, unsigned source);
struct set host_any_set(void);        /* at random, as it may be pushed */
unsigned host_serving(unsigned name); /* how many processes of that name serve */

/* The test's: keeps the line of this step. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
