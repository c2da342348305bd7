/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ask: requests, and the application's event loop. Any thread, a request also any signal handler:
 * it touches nothing but the door. [P5] */
#include <errno.h>

#include "engine/engine.h"

uint64_t safestart_request_restart(struct safestart *ss)
{
	return ss != NULL ? request_enter(&ss->door, 0, NULL) : 0;
}

uint64_t safestart_request(struct safestart *ss, uint32_t flags, const char *reason)
{
	if (ss == NULL || (flags & ~(uint32_t)(SAFESTART_FORCE | SAFESTART_URGENT)))
		return 0;
	return request_enter(&ss->door,
			     (flags & SAFESTART_FORCE ? REQUEST_FORCE : 0) |
				     (flags & SAFESTART_URGENT ? REQUEST_URGENT : 0),
			     reason);
}

int safestart_fd(struct safestart *ss)
{
	return ss != NULL ? ss->loop.epoll_fd : -EINVAL;
}

int safestart_dispatch(struct safestart *ss, int timeout_ms)
{
	if (ss == NULL)
		return -EINVAL;
	if (callback_is_inside(ss))
		return -EDEADLK;
	if (handle_settings(ss)->thread)
		return -EBUSY;
	int revived = ss->revive(ss);
	if (revived != 0)
		return revived < 0 ? revived : -EAGAIN; /* not started: there is nothing to do */
	return dispatch_turn(ss, timeout_ms);
}
