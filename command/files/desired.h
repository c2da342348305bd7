/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* digests: by which a server's entry and an announced one are compared: address and all labels.
 * Main thread; no I/O. */
#ifndef SAFESTART_COMMAND_DIGESTS_H
#define SAFESTART_COMMAND_DIGESTS_H

#include <jansson.h>

/* An object {id: digest} of the entries that a server would read from this file_sd document. The
 * caller releases it; NULL: malformed, or no memory. */
json_t *digests_of(const char *document);

#endif
