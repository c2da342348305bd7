/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* registry: a source of the kind that is written in an afternoon: one blocking HTTP request, no
 * time limit of its own, no notification. Its faults must not matter. */
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int registry_open(void **state, const struct safestart_source_conf *conf, char *why,
			 size_t why_size, void *user_data)
{
	(void)user_data;
	*state = strdup(safestart_source_argument(conf));
	if (*state == NULL)
		snprintf(why, why_size, "out of memory");
	return *state != NULL ? 0 : -ENOMEM;
}

static int connect_to(const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd >= 0 ? fd : -errno;
}

/* Reads everything up to the end of the connection, with a NUL byte; free() it. NULL: error in
 * errno. */
static char *exchange(int fd, size_t limit)
{
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);
	char buffer[4096];
	ssize_t n;

	dprintf(fd, "GET /nodes HTTP/1.0\r\nX-Pid: %d\r\n\r\n", (int)getpid());
	while ((n = read(fd, buffer, sizeof(buffer))) > 0 && (size_t)ftell(to) <= limit + 4096)
		fwrite(buffer, 1, (size_t)n, to);
	fclose(to);
	if (n >= 0)
		return text;
	free(text);
	return NULL;
}

static int registry_gather(void *state, struct safestart_gather *gather)
{
	int fd = connect_to(state);
	unsigned status = 0;

	if (fd < 0)
		return safestart_gather_fail(gather, fd, "the registry can't be reached");
	char *text = exchange(fd, safestart_gather_max_bytes(gather));
	int error = text == NULL ? -errno : 0;
	close(fd);
	if (error < 0)
		return safestart_gather_fail(gather, error, "the registry went away");
	char *body = strstr(text, "\r\n\r\n");
	if (body == NULL || sscanf(text, "HTTP/%*u.%*u %u", &status) != 1)
		error = safestart_gather_fail(gather, -EPROTO, "the registry does not speak HTTP");
	else if (status != 200)
		error = safestart_gather_fail(gather, -EIO, "the registry answers with an error");
	else
		/* A cut answer shows in the document. */
		error = safestart_gather_json(gather, body + 4, strlen(body + 4));
	free(text);
	return error;
}

const struct safestart_source registry_source = {
	.size = sizeof(registry_source),
	.scheme = "registry",
	.open = registry_open,
	.gather = registry_gather,
	.close = free,
};
