/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * http - the server's interface: payments for clients, and three pages for operators.
 *
 *   GET PUT /payments/ID          a payment's body
 *   GET     /payments/ID/nodes    where it would be stored
 *   GET     /healthz              200 when it can serve
 *   GET     /status               the status of libsafestart, as JSON
 *   GET     /metrics              the same for Prometheus
 */
#ifndef APISERVER_HTTP_H
#define APISERVER_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include <safestart/safestart.h>

struct http;

/* Listens on 127.0.0.1. NULL: error, with the text in `why`. */
struct http *http_start(struct safestart *ss, uint16_t port, unsigned threads, char *why,
			size_t why_size);

/* Accepts no new connection, lets the requests in progress finish (a few seconds at most), frees
 * everything. */
void http_stop(struct http *http);

#endif
