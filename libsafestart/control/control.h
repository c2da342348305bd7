/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* control: the control socket of a handle and its thread, "safestart-ctl", which answers clients.
 * The thread sleeps in epoll only, and calls public functions but no callback. Only
 * close and fork ever wait for it: no run, no reader and no request does. */
#ifndef SAFESTART_CONTROL_CONTROL_H
#define SAFESTART_CONTROL_CONTROL_H

#include "handle.h"

/* Each of these does nothing without the setting `control`. */

/* Check the directory (NULL: none) and allocate what there is not yet; no thread, no socket. 0;
 * -ENOTDIR, -ENOMEM and why, and nothing was allocated. */
int control_init(struct safestart *ss, const char *directory, char *why, size_t why_size);
void control_clear(struct safestart *ss);

/* In this process? The handle's lock is held. */
bool control_is_started(struct safestart *ss);

/* Start the thread unless it runs in this process already; the thread creates the socket. 0 or
 * -errno. The handle's lock may be held. */
int control_start(struct safestart *ss);

/* End the thread: streams of events get their end, connections are closed, the socket is removed.
 * 0; -ETIMEDOUT: the thread is blocked in a file system that hangs. No lock held. */
int control_stop(struct safestart *ss, int64_t deadline);

/* Around fork; the handle's lock is held. The child closes all of the parent's descriptors and has
 * no thread until control_start(). */
void control_before_fork(struct control *control);
void control_after_fork_parent(struct control *control);
void control_after_fork_child(struct control *control);

#endif
