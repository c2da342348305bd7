/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* control: the control socket of a handle, and the thread that answers at it: "safestart-ctl". It
 * sleeps in epoll only, calls public functions and none of the application's, and nobody but close
 * ever waits for it. */
#ifndef SAFESTART_CONTROL_H
#define SAFESTART_CONTROL_H

#include "handle.h"

/* Each of these does nothing without the setting `control`. */
/* 0; -ENOTDIR, -ENOMEM and why. */
int control_init(struct safestart *ss, char *why, size_t why_size);
void control_clear(struct safestart *ss);

/* Start the thread, if there is none in this process; the socket follows. 0 or -errno. The handle's
 * lock may be held. */
int control_start(struct safestart *ss);

/* End it: the socket is removed, who is connected gets the end of events, or of the file. 0;
 * -ETIMEDOUT: it is in the hands of a file system that hangs. */
int control_stop(struct safestart *ss, int64_t deadline);

/* Around fork; the handle's lock is held. The child has none of the parent's descriptors. */
void control_before_fork(struct control *control);
void control_after_fork_parent(struct control *control);
void control_after_fork_child(struct control *control);

#endif
