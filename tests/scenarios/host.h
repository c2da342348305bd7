/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host: where its nodes may come from besides the library's own sources. */
#ifndef HOST_H
#define HOST_H

#include <safestart/source.h>

/* source=registry:PORT asks an HTTP server on 127.0.0.1. It hears of no change by itself: only who asks, learns. */
extern const struct safestart_source registry_source;

#endif
