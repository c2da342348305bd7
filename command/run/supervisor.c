/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* supervisor: three processes meet here. The caller has supervisor_start() and the functions after
 * it; the supervisor runs supervise(), the command begins in exec_command(). They share a socket
 * pair: signals go down, the command's pidfd and its status come up. */
#include "run/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <safestart/safestart.h>

#include "base/report.h"
#include "run/command_lock.h"
#include "run/family.h"

/* So long nobody is told that the run waits for what its command has left. */
#define LEFT_MS 2000

/* Runs in the command's process. It begins only when it is recorded and the caller has been sent
 * its pidfd; if the supervisor is killed before that, it does not begin. */
static _Noreturn void exec_command(const struct supervised *supervised, const int gate[2])
{
	char begin;

	close(gate[1]);
	if (read(gate[0], &begin, 1) != 1)
		_exit(125);
	sigaction(SIGCHLD, supervised->child, NULL);
	pthread_sigmask(SIG_SETMASK, supervised->mask, NULL);
	execvp(supervised->arguments[0], supervised->arguments);
	int error = errno;
	report(0, "cannot run %s: %s", supervised->arguments[0], safestart_strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

/* Receives a signal from the caller. False: the caller is gone. */
static bool receive_signal(int fd, struct family *family)
{
	int number;
	ssize_t size = recv(fd, &number, sizeof(number), MSG_DONTWAIT);

	if (size == (ssize_t)sizeof(number))
		family_signal(family, number);
	return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Sends the caller a pidfd of the command. An old kernel has none; the caller works without. */
static void send_pidfd(int fd, pid_t command)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = "";
	int nothing = 0, pidfd = (int)syscall(SYS_pidfd_open, command, 0);
	struct iovec text = {.iov_base = &nothing, .iov_len = sizeof(nothing)};
	struct msghdr message = {.msg_iov = &text,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (pidfd < 0)
		return;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &pidfd, sizeof(pidfd));
	(void)sendmsg(fd, &message, MSG_NOSIGNAL);
	close(pidfd);
}

/* Forks the command and lets it begin only after its pidfd is on its way to the caller, and it is
 * recorded: whichever processes are killed, one is left that knows of the command [P1]. */
static pid_t start_command(int fd, const struct supervised *supervised)
{
	int gate[2];

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -1;
	pid_t command = fork();
	if (command == 0)
		exec_command(supervised, gate);
	int error = errno;
	if (command > 0) {
		/* A process group of its own: a kill of the caller's whole group, as timeout(1)
		 * does it, must not reach the supervisor while the command survives it, outside of
		 * that group or as another user. */
		setpgid(0, 0);
		if (!command_lock_record(supervised->command_lock, command))
			report(0,
			       "cannot write which process the command is: %s; if this caller and "
			       "its supervisor are killed, the next caller will not wait for it",
			       safestart_strerror(errno));
		send_pidfd(fd, command);
		/* Cannot block or fail: the pipe is empty, and we have a reading end too. */
		(void)!write(gate[1], "", 1);
	}
	close(gate[0]);
	close(gate[1]);
	errno = error;
	return command;
}

static void report_left(const struct family *family)
{
	report(0,
	       "the command was ended by a signal, but not all that it has started; waiting for "
	       "that; to see what it does: pgrep -ag %ld",
	       (long)family->group);
}

/* The supervisor's process. It keeps the command lock, which it inherited, until the run has ended
 * [P18], and blocks every signal but SIGKILL and SIGSTOP. */
static _Noreturn void supervise(int fd, const struct supervised *supervised)
{
	struct family family;
	sigset_t all, ended;
	bool reported = false;

	prctl(PR_SET_NAME, "safestart-super");
	sigfillset(&all); /* ^C at the terminal is for the command and its caller */
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	int signals = signalfd(-1, &ended, SFD_CLOEXEC);
	family_begin(&family);
	family.command = signals >= 0 ? start_command(fd, supervised) : -1;
	if (family.command < 0) {
		report(0, "cannot create a process: %s", safestart_strerror(errno));
		family.status = 125 << 8;
	}
	struct pollfd polled[2] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	while (family.command >= 0) {
		struct signalfd_siginfo info;
		int count = poll(polled, 2, family.command == 0 && !reported ? LEFT_MS : -1);
		if (count == 0) {
			report_left(&family);
			reported = true;
		}
		if (count > 0 && polled[1].revents != 0 && !receive_signal(fd, &family))
			polled[1].fd = -1;
		if (count > 0 && polled[0].revents != 0 && read(signals, &info, sizeof(info)) > 0 &&
		    family_has_ended(&family))
			break;
	}
	(void)send(fd, &family.status, sizeof(family.status), MSG_NOSIGNAL);
	_exit(0);
}

int supervisor_start(struct supervisor *supervisor, const struct supervised *supervised)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[0]);
		supervise(ends[1], supervised);
	}
	int error = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (error < 0) {
		close(ends[0]);
		return error;
	}
	*supervisor = (struct supervisor){.pid = pid, .fd = ends[0], .command = -1};
	return 0;
}

/* Without a supervisor the signal goes to the command directly, by its pidfd. */
void supervisor_signal(const struct supervisor *supervisor, int number)
{
	if (supervisor->killed)
		(void)syscall(SYS_pidfd_send_signal, supervisor->fd, number, NULL, 0);
	else
		(void)send(supervisor->fd, &number, sizeof(number), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Receives first the pidfd of the command, later its status. 0 bytes: the supervisor was killed. */
static ssize_t receive(struct supervisor *supervisor, int *status)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec text = {.iov_base = status, .iov_len = sizeof(*status)};
	struct msghdr message = {.msg_iov = &text,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t size;

	do {
		size = recvmsg(supervisor->fd, &message, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	const struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header != NULL && header->cmsg_type == SCM_RIGHTS)
		memcpy(&supervisor->command, CMSG_DATA(header), sizeof(supervisor->command));
	return size;
}

/* Three cases: the pidfd arrived, the supervisor was killed, or the command has ended. */
bool supervisor_read(struct supervisor *supervisor, int *code)
{
	int status = 0, had = supervisor->command;
	bool lost = !supervisor->killed && receive(supervisor, &status) <= 0;
	bool known = !lost && !supervisor->killed;

	if (had < 0 && supervisor->command >= 0)
		return false;
	if (lost && supervisor->command >= 0) {
		/* The command may survive its supervisor, and must not be started a second time
		 * beside it [P1]. */
		report(0,
		       "the supervisor of the command was killed; waiting for the command to end");
		close(supervisor->fd);
		supervisor->fd = supervisor->command;
		supervisor->command = -1;
		supervisor->killed = true;
		return false;
	}
	close(supervisor->fd);
	if (supervisor->command >= 0)
		close(supervisor->command);
	waitpid(supervisor->pid, NULL, 0);
	*supervisor = (struct supervisor){.fd = -1, .command = -1};
	*code = !known ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return true;
}
