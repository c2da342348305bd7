/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ctl: a client of the control socket, for tests: real sockets, JSON lines. */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>
#include <stdio.h>

#include "support/support.h"

struct ctl {
	int fd;
	FILE *from;
	char *line;
	size_t room;
};

/* The directory of the sockets, in the test's own; and it as a setting. */
const char *ctl_directory(void);
const char *ctl_setting(void);

/* Where the socket of that name, process and number (1 is the first) is; waits until it is there.
 * Static buffers, four at a time. */
const char *ctl_path(const char *name, pid_t pid, int number);
const char *ctl_wait(const char *name, pid_t pid, int number);
int ctl_count(void); /* entries of the directory that end in .sock */

int ctl_try(const char *path); /* a descriptor, or -errno */
void ctl_connect(struct ctl *ctl, const char *path);
void ctl_send(struct ctl *ctl, const char *text);
const char *ctl_line(struct ctl *ctl); /* NULL: nothing more comes */
/* A line, parsed; fails the test when there is none. json_decref() it. */
json_t *ctl_read(struct ctl *ctl);
json_t *ctl_ask(struct ctl *ctl, const char *line);
void ctl_close(struct ctl *ctl);

/* Connects, asks one question, disconnects. */
json_t *ctl_once(const char *path, const char *line);

/* Members, by "a.b"; fail the test when they are not there. */
const char *ctl_string(const json_t *root, const char *path);
long long ctl_integer(const json_t *root, const char *path);
bool ctl_true(const json_t *root, const char *path);

#endif
