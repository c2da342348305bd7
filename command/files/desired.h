/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* desired: what the servers would make of a file_sd document: asks the library itself, by a handle
 * that never runs. Main thread; no I/O, starts no thread. */
#ifndef SAFESTART_COMMAND_DESIRED_H
#define SAFESTART_COMMAND_DESIRED_H

#include <jansson.h>
#include <safestart/safestart.h>

/* Opens a handle that has the document as its desired set, however large it is. `default_port`: the
 * servers' setting; NULL: not set. 0, with what was probably not meant in `why` ("": nothing);
 * -EINVAL, the servers refuse it as a whole, or another error, with the reason in `why`. The
 * caller closes the handle. */
int desired_open(struct safestart **ss, const char *document, const char *default_port, char *why,
		 size_t why_size);

/* An object {id: digest} of the entries that a server would read from this document: by which a
 * server's entry and an announced one are compared, address and all labels. The caller releases
 * it; NULL: malformed, or no memory. */
json_t *desired_digests(const char *document);

#endif
