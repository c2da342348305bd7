/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* http - see http.h. libmicrohttpd with a pool of threads: an answer may block on Redis, in a
 * thread of its own. */
#define _GNU_SOURCE 1
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "payments.h"

#define BODY_MAX 65536
#define ID_MAX 64
#define DRAIN_MS 5000

struct http {
	struct safestart *ss;
	struct MHD_Daemon *daemon;
	int listener;
	atomic_uint active;   /* requests between their first byte and their last */
	atomic_bool draining; /* set by http_stop(); only a hint for responses, needs no order */
};

/* One request, from its first call to on_completed(). */
struct request {
	bool too_large;
	size_t size;
	char *body;
};

/* ---- Responses ------------------------------------------------------------ */

static enum MHD_Result send_response(struct http *http, struct MHD_Connection *connection,
				     unsigned status, const char *type,
				     struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	/* The client then connects to another server. */
	if (atomic_load_explicit(&http->draining, memory_order_relaxed))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer(struct http *http, struct MHD_Connection *connection, unsigned status,
			      const char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
						MHD_RESPMEM_MUST_COPY);

	return send_response(http, connection, status, "text/plain; charset=utf-8", response);
}

/* A page the library has written. */
static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *connection,
				   const char *type, char *page)
{
	if (!page)
		return answer(http, connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return send_response(http, connection, MHD_HTTP_OK, type,
			     MHD_create_response_from_buffer_with_free_callback(strlen(page), page,
										safestart_free));
}

/* ---- Payments ------------------------------------------------------------- */

static enum MHD_Result answer_failure(struct http *http, struct MHD_Connection *connection,
				      int error)
{
	switch (error) {
	case -ENOENT:
		return answer(http, connection, MHD_HTTP_NOT_FOUND, "there is no such payment\n");
	case -EHOSTUNREACH:
		return answer(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
			      "cannot reach a storage node that is needed; try again later\n");
	default: return answer(http, connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	}
}

static enum MHD_Result get_payment(struct http *http, struct MHD_Connection *connection,
				   const char *id)
{
	char *body;
	size_t size;
	int r = payments_get(http->ss, id, &body, &size);

	if (r < 0)
		return answer_failure(http, connection, r);
	return send_response(http, connection, MHD_HTTP_OK, "application/octet-stream",
			     MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result put_payment(struct http *http, struct MHD_Connection *connection,
				   const char *id, const struct request *request)
{
	int r;

	if (request->too_large)
		return answer(http, connection, MHD_HTTP_CONTENT_TOO_LARGE,
			      "a payment has 64 KiB at most\n");
	r = payments_put(http->ss, id, request->body, request->size);
	return r < 0 ? answer_failure(http, connection, r)
		     : answer(http, connection, MHD_HTTP_CREATED, "stored\n");
}

static enum MHD_Result get_owners(struct http *http, struct MHD_Connection *connection,
				  const char *id)
{
	char text[1024];

	payments_owners(http->ss, id, text, sizeof(text));
	return answer(http, connection, MHD_HTTP_OK, text);
}

/* Parses what follows /payments/: an id, and perhaps /nodes. False: malformed. */
static bool parse_path(const char *path, char *id, bool *nodes)
{
	size_t length =
		strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	*nodes = !strcmp(path + length, "/nodes");
	if (length == 0 || length > ID_MAX || (path[length] && !*nodes))
		return false;
	memcpy(id, path, length);
	id[length] = '\0';
	return true;
}

static enum MHD_Result on_payment(struct http *http, struct MHD_Connection *connection,
				  const char *path, const char *method,
				  const struct request *request)
{
	char id[ID_MAX + 1];
	bool nodes;

	if (!parse_path(path, id, &nodes))
		return answer(http, connection, MHD_HTTP_BAD_REQUEST,
			      "an id has 1 to 64 letters, digits, dots, dashes and underscores\n");
	if (!strcmp(method, MHD_HTTP_METHOD_GET))
		return nodes ? get_owners(http, connection, id) : get_payment(http, connection, id);
	if (!strcmp(method, MHD_HTTP_METHOD_PUT) && !nodes)
		return put_payment(http, connection, id, request);
	return answer(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
		      "only GET and PUT are supported here\n");
}

/* ---- Requests -------------------------------------------------------------- */

static enum MHD_Result route(struct http *http, struct MHD_Connection *connection, const char *url,
			     const char *method, const struct request *request)
{
	if (!strncmp(url, "/payments/", 10))
		return on_payment(http, connection, url + 10, method, request);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		return answer(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			      "only GET is supported here\n");
	if (!strcmp(url, "/healthz"))
		return safestart_generation(http->ss)
			       ? answer(http, connection, MHD_HTTP_OK, "ok\n")
			       : answer(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
					"no storage nodes yet\n");
	if (!strcmp(url, "/status"))
		return answer_page(http, connection, "application/json",
				   safestart_status_json(http->ss));
	if (!strcmp(url, "/metrics"))
		return answer_page(http, connection, "text/plain; version=0.0.4",
				   safestart_metrics_text(http->ss));
	return answer(http, connection, MHD_HTTP_NOT_FOUND,
		      "try /payments/ID, /healthz, /status or /metrics\n");
}

static void take_body(struct request *request, const char *data, size_t size)
{
	char *larger;

	if (request->too_large || size > BODY_MAX - request->size) {
		request->too_large = true;
		return;
	}
	larger = realloc(request->body, request->size + size);
	if (!larger) {
		request->too_large = true;
		return;
	}
	memcpy(larger + request->size, data, size);
	request->body = larger;
	request->size += size;
}

/* libmicrohttpd calls this first with nothing, then for each piece of the body, then once more. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **slot)
{
	struct http *http = context;
	struct request *request = *slot;

	(void)version;
	if (!request) {
		*slot = calloc(1, sizeof(*request));
		if (*slot)
			atomic_fetch_add(&http->active, 1);
		return *slot ? MHD_YES : MHD_NO;
	}
	if (*size) {
		take_body(request, data, *size);
		*size = 0;
		return MHD_YES;
	}
	return route(http, connection, url, method, request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
			 enum MHD_RequestTerminationCode code)
{
	struct http *http = context;
	struct request *request = *slot;

	(void)connection;
	(void)code;
	if (!request)
		return;
	free(request->body);
	free(request);
	*slot = NULL;
	atomic_fetch_sub(&http->active, 1);
}

/* ---- Life ------------------------------------------------------------------ */

/* Our own socket instead of libmicrohttpd's, so that we can say what is wrong with the port. No
 * SO_REUSEPORT: one server per port. */
static int listen_on(uint16_t port, char *why, size_t why_size)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 128) == 0)
		return fd;
	snprintf(why, why_size, "cannot listen on 127.0.0.1 port %u: %s%s", (unsigned)port,
		 safestart_strerror(errno),
		 errno == EADDRINUSE ? "; stop the program that uses it, or choose another --port"
				     : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

struct http *http_start(struct safestart *ss, uint16_t port, unsigned threads, char *why,
			size_t why_size)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http) {
		snprintf(why, why_size, "out of memory");
		return NULL;
	}
	http->ss = ss;
	http->listener = listen_on(port, why, why_size);
	if (http->listener < 0)
		goto fail;
	http->daemon =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
				 NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET,
				 http->listener, MHD_OPTION_THREAD_POOL_SIZE, threads,
				 MHD_OPTION_CONNECTION_TIMEOUT, 30U, MHD_OPTION_NOTIFY_COMPLETED,
				 on_completed, http, MHD_OPTION_END);
	if (http->daemon)
		return http;
	snprintf(why, why_size, "cannot start the HTTP server with %u threads: %s", threads,
		 safestart_strerror(errno));
	close(http->listener);
fail:
	free(http);
	return NULL;
}

void http_stop(struct http *http)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	atomic_store_explicit(&http->draining, true, memory_order_relaxed);
	MHD_quiesce_daemon(http->daemon);
	for (int ms = 0; ms < DRAIN_MS && atomic_load(&http->active); ms += 5)
		nanosleep(&pause, NULL);
	MHD_stop_daemon(http->daemon);
	close(http->listener); /* only now: until here a thread may still have used it */
	free(http);
}
