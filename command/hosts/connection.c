/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connection: non-blocking I/O on one control socket. Follows no symbolic link; never parses what
 * it receives. */
#include "hosts/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The directory by descriptor, because a path may be longer than a socket address. The file must be
 * a socket and not a symbolic link: in a directory where others may write, root must not be led
 * elsewhere. */
static int address_of(struct sockaddr_un *address, const char *directory, const char *file,
		      int *directory_fd, uid_t *owner)
{
	struct stat status;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	*directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory_fd < 0)
		return -errno;
	if (fstatat(*directory_fd, file, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	*owner = status.st_uid;
	int length =
		snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", directory, file);
	if (length >= (int)sizeof(address->sun_path))
		length = snprintf(address->sun_path, sizeof(address->sun_path),
				  "/proc/self/fd/%d/%s", *directory_fd, file);
	return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

/* What is kept unread for all connections to processes of other users. */
static size_t others_room;

bool connection_trusted(const struct connection *connection)
{
	return connection->uid == 0 || connection->uid == geteuid();
}

void connection_stranger(const struct connection *connection, char *words, size_t size)
{
	snprintf(words, size,
		 "belongs to user %u (process %ld listens there, not this one): ignored",
		 (unsigned)connection->uid, (long)connection->pid);
}

/* Its number in the pid namespace in which it made the file: the last of its numbers. */
static bool has_number(pid_t pid, long number)
{
	char path[64], line[256];
	long last = pid;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
	FILE *status = fopen(path, "re");
	while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
		const char *at = strncmp(line, "NSpid:", 6) == 0 ? strrchr(line, '\t') : NULL;
		if (at != NULL)
			last = strtol(at, NULL, 10);
	}
	if (status != NULL)
		fclose(status);
	return last == number;
}

/* The kernel says which process has called listen(). */
static int look_who_listens(struct connection *connection, uid_t owner, long number)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	connection->uid = peer.uid;
	connection->pid = peer.pid;
	if (connection_trusted(connection))
		return 0;
	return peer.uid == owner && (peer.pid == 0 || has_number(peer.pid, number))
		       ? 0
		       : CONNECTION_STRANGER;
}

int connection_open(struct connection *connection, const char *directory, const char *file,
		    long number, const char *line)
{
	struct sockaddr_un address;
	int directory_fd, error;
	uid_t owner = (uid_t)-1;

	*connection = (struct connection){.fd = -1, .out = line};
	error = address_of(&address, directory, file, &directory_fd, &owner);
	if (error == 0) {
		connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connection->fd < 0 ||
		    connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			error = -errno;
	}
	if (error == 0)
		error = look_who_listens(connection, owner, number);
	if (directory_fd >= 0)
		close(directory_fd);
	if (error < 0)
		connection_close(connection);
	return error;
}

void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	free(connection->in);
	others_room -= connection_trusted(connection) ? 0 : connection->in_room;
	*connection = (struct connection){.fd = -1, .uid = connection->uid, .pid = connection->pid};
}

short connection_events(const struct connection *connection)
{
	return connection->fd < 0 || connection->out[0] == '\0' ? POLLIN
								: (short)(POLLIN | POLLOUT);
}

/* 0 also when the socket takes no more for now. MSG_NOSIGNAL: a process that is killed meanwhile
 * must not end this one. */
static int send_more(struct connection *connection)
{
	while (connection->out[0] != '\0') {
		ssize_t n = send(connection->fd, connection->out, strlen(connection->out),
				 MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		connection->out += n;
	}
	return 0;
}

/* Passes on every complete line. True: on_line needs no more. */
static bool deliver_lines(struct connection *connection, bool (*on_line)(char *, size_t, void *),
			  void *user_data)
{
	char *at = connection->in, *end = connection->in + connection->in_used, *newline;
	bool done = false;

	while (!done && (newline = memchr(at + connection->in_seen, '\n',
					  (size_t)(end - at) - connection->in_seen)) != NULL) {
		*newline = '\0';
		done = !on_line(at, (size_t)(newline - at), user_data);
		at = newline + 1;
		connection->in_seen = 0;
	}
	connection->in_used = (size_t)(end - at);
	connection->in_seen = connection->in_used;
	memmove(connection->in, at, connection->in_used);
	return done;
}

/* Room for one more recv(); -E2BIG: the line has reached its limit. */
static int make_room(struct connection *connection)
{
	if (connection->in_room - connection->in_used >= 4096)
		return 0;
	size_t room = connection->in_room * 2 + 16384;
	bool trusted = connection_trusted(connection);
	if (connection->in_used >= (trusted ? CONNECTION_LINE_MAX : CONNECTION_LINE_MAX_OTHER) ||
	    (!trusted && room - connection->in_room > CONNECTION_ROOM_MAX_OTHER - others_room))
		return -E2BIG;
	char *in = realloc(connection->in, room);
	if (in == NULL)
		return -ENOMEM;
	others_room += trusted ? 0 : room - connection->in_room;
	connection->in = in;
	connection->in_room = room;
	return 0;
}

/* One recv() per call, so that a process that sends without end does not delay the others. */
int connection_transfer(struct connection *connection, bool (*on_line)(char *, size_t, void *),
			void *user_data)
{
	int send_error = send_more(connection), error = make_room(connection);

	if (error < 0)
		return error;
	ssize_t n = recv(connection->fd, connection->in + connection->in_used,
			 connection->in_room - connection->in_used, 0);
	/* Read even if sending failed: the other side may have sent a refusal before it closed. */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return send_error;
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	connection->in_used += (size_t)n;
	return deliver_lines(connection, on_line, user_data) ? 1 : 0;
}
