/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"

/* In the command's process. Should the keeper be killed, nobody knows about the command any more: it goes with it. */
static _Noreturn void become(char *const *arguments, const sigset_t *mask, const struct sigaction *child, pid_t keeper)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(125);
	sigaction(SIGCHLD, child, NULL);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
	execvp(arguments[0], arguments);
	int error = errno;
	say(0, "%s can't be run: %s", arguments[0], strerrordesc_np(error));
	_exit(error == ENOENT ? 127 : 126);
}

/* The caller sends signals and may vanish. False: it has. */
static bool hear(int fd, pid_t command)
{
	int number;
	ssize_t size = recv(fd, &number, sizeof(number), MSG_DONTWAIT);

	if (size == (ssize_t)sizeof(number))
		kill(command, number);
	return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

static _Noreturn void keep(int fd, char *const *arguments, const sigset_t *mask, const struct sigaction *child)
{
	pid_t keeper = getpid();
	sigset_t all, ended;
	int status = 125 << 8;

	prctl(PR_SET_NAME, "safestart-keep");
	sigfillset(&all); /* a ^C at the terminal is for the command and its caller */
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	int signals = signalfd(-1, &ended, SFD_CLOEXEC);
	pid_t command = signals >= 0 ? fork() : -1;
	if (command == 0)
		become(arguments, mask, child, keeper);
	struct pollfd polled[2] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	while (command > 0) {
		struct signalfd_siginfo info;
		if (poll(polled, 2, -1) < 0)
			continue;
		if (polled[1].revents != 0 && !hear(fd, command))
			polled[1].fd = -1;
		if (polled[0].revents != 0 && read(signals, &info, sizeof(info)) > 0 && waitpid(command, &status, WNOHANG) == command)
			break;
	}
	if (command < 0)
		say(0, "no process to be had: %s", strerrordesc_np(errno));
	(void)send(fd, &status, sizeof(status), MSG_NOSIGNAL);
	_exit(0);
}

int keeper_start(struct keeper *keeper, char *const *arguments, const sigset_t *mask, const struct sigaction *child)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[0]);
		keep(ends[1], arguments, mask, child);
	}
	int error = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (error < 0) {
		close(ends[0]);
		return error;
	}
	*keeper = (struct keeper){.pid = pid, .fd = ends[0]};
	return 0;
}

void keeper_signal(const struct keeper *keeper, int number)
{
	(void)send(keeper->fd, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT);
}

int keeper_end(struct keeper *keeper)
{
	int status = 125 << 8;
	ssize_t size;

	do {
		size = recv(keeper->fd, &status, sizeof(status), 0);
	} while (size < 0 && errno == EINTR);
	close(keeper->fd);
	waitpid(keeper->pid, NULL, 0);
	keeper->pid = 0;
	keeper->fd = -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
