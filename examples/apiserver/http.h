/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * http - what the outside sees: payments for clients, and three pages for operators.
 *
 *   GET PUT /payments/ID          a payment's body
 *   GET     /payments/ID/nodes    where it would be stored
 *   GET     /healthz              200 when it can serve
 *   GET     /status               what libsafestart knows, as JSON
 *   GET     /metrics              the same for Prometheus
 */
#ifndef APISERVER_HTTP_H
#define APISERVER_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include <safestart/safestart.h>

struct http;

/* Listens on 127.0.0.1. NULL: `why` has the words. */
struct http *http_start(struct safestart *ss, uint16_t port, unsigned threads, char *why,
			size_t why_size);

/* Accepts nothing new, lets requests that are being served finish (a few seconds at most), frees
 * everything. */
void http_stop(struct http *http);

#endif
