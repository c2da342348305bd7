/* SPDX-License-Identifier: LGPL-2.1-or-later */
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

/* The directory by descriptor: a path may be longer than a socket's address. It is no symbolic link
 * and no other kind of file: in a directory that others write to, root must not be led elsewhere.
 */
static int address_of(struct sockaddr_un *address, const char *directory, const char *file,
		      int *held)
{
	struct stat status;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	*held = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*held < 0)
		return -errno;
	if (fstatat(*held, file, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	int length =
		snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", directory, file);
	if (length >= (int)sizeof(address->sun_path))
		length = snprintf(address->sun_path, sizeof(address->sun_path),
				  "/proc/self/fd/%d/%s", *held, file);
	return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

int connection_open(struct connection *link, const char *directory, const char *file,
		    const char *line)
{
	struct sockaddr_un address;
	int held, error;

	*link = (struct connection){.fd = -1, .out = line};
	error = address_of(&address, directory, file, &held);
	if (error == 0) {
		link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (link->fd < 0 ||
		    connect(link->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			error = -errno;
	}
	if (held >= 0)
		close(held);
	if (error < 0)
		connection_close(link);
	return error;
}

void connection_close(struct connection *link)
{
	if (link->fd >= 0)
		close(link->fd);
	free(link->in);
	*link = (struct connection){.fd = -1};
}

short connection_wants(const struct connection *link)
{
	return link->fd < 0 || link->out[0] == '\0' ? POLLIN : (short)(POLLIN | POLLOUT);
}

static int send_more(struct connection *link)
{
	while (link->out[0] != '\0') {
		ssize_t n = send(link->fd, link->out, strlen(link->out), MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		link->out += n;
	}
	return 0;
}

/* Hand on every whole line. True: no more is needed. */
static bool tell_lines(struct connection *link, bool (*tell)(char *, size_t, void *),
		       void *user_data)
{
	char *at = link->in, *end = link->in + link->in_used, *newline;
	bool enough = false;

	while (!enough && (newline = memchr(at + link->in_seen, '\n',
					    (size_t)(end - at) - link->in_seen)) != NULL) {
		*newline = '\0';
		enough = !tell(at, (size_t)(newline - at), user_data);
		at = newline + 1;
		link->in_seen = 0;
	}
	link->in_used = (size_t)(end - at);
	link->in_seen = link->in_used;
	memmove(link->in, at, link->in_used);
	return enough;
}

static int make_room(struct connection *link)
{
	if (link->in_room - link->in_used >= 4096)
		return 0;
	if (link->in_used >= CONNECTION_LINE_MAX)
		return -E2BIG;
	size_t room = link->in_room * 2 + 16384;
	char *in = realloc(link->in, room);
	if (in == NULL)
		return -ENOMEM;
	link->in = in;
	link->in_room = room;
	return 0;
}

/* One reading a turn, so that nobody who always has more to say keeps the others waiting. */
int connection_turn(struct connection *link, bool (*tell)(char *, size_t, void *), void *user_data)
{
	int send_error = send_more(link), error = make_room(link);

	if (error < 0)
		return error;
	ssize_t n = recv(link->fd, link->in + link->in_used, link->in_room - link->in_used, 0);
	/* A refusal may have been sent before it hung up: it is read first. */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return send_error;
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	link->in_used += (size_t)n;
	return tell_lines(link, tell, user_data) ? 1 : 0;
}
