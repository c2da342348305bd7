/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* family: asks the kernel for children of this process by their group; so a daemon, which has left
 * that group, is never waited for and gets no signal. */
#include "run/family.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void family_begin(struct family *family)
{
	*family = (struct family){.group = getpgrp()};
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Each gets a signal once: many a program takes the second one for impatience. SIGKILL does no harm
 * twice. */
static bool is_told(struct family *family, pid_t pid)
{
	for (size_t i = 0; i < family->told_count; i++) {
		if (family->told[i] == pid)
			return true;
	}
	if (family->told_count < sizeof(family->told) / sizeof(family->told[0]))
		family->told[family->told_count++] = pid;
	return false;
}

/* A child that nobody has waited for keeps its PID, so the signal reaches no stranger. The file is
 * PIDs with a space behind each. */
static void signal_left(struct family *family)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	size_t size = 0;
	char *word = NULL;

	while (children != NULL && getdelim(&word, &size, ' ', children) > 0) {
		pid_t pid = (pid_t)strtol(word, NULL, 10);
		if (pid > 0 && getpgid(pid) == family->group && !is_told(family, pid))
			kill(pid, family->signal);
	}
	free(word);
	if (children != NULL)
		fclose(children);
}

void family_signal(struct family *family, int number)
{
	family->signal = number;
	family->told_count = 0;
	if (family->command > 0)
		kill(family->command, number);
	else
		signal_left(family);
}

bool family_has_ended(struct family *family)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != family->command)
			continue;
		family->command = 0;
		family->status = status;
	}
	if (family->command > 0)
		return false;
	if (!WIFSIGNALED(family->status) && (family->signal == 0 || family->status == 0))
		return true;
	/* What has become a child of ours just now has not got it yet. */
	if (family->signal != 0)
		signal_left(family);
	while ((pid = waitpid(-family->group, NULL, WNOHANG)) > 0)
		;
	return pid < 0;
}
