/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* attitude: a library to which files behave as badly as they may: something happens between any two
 * of its system calls, their times are another machine's, and there is no inotify.
 * tests/meson.build links libsafestart's own objects with the calls below wrapped; the calls of the
 * test itself are not. Any thread. */
#ifndef ATTITUDE_H
#define ATTITUDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum attitude_stamps {
	STAMPS_REAL,
	STAMPS_STOPPED,  /* all alike, and long ago */
	STAMPS_BACKWARD, /* each look sees an older one */
	STAMPS_AHEAD,    /* a clock that is an hour ahead, and coarse */
	STAMPS_COUNT
};

extern struct attitude {
	_Atomic int stamps; /* enum attitude_stamps */
	_Atomic bool no_inotify;
	_Atomic int64_t later;   /* ns by which the library's clock is ahead: made-up time */
	_Atomic unsigned parses; /* documents that were parsed */
} attitude;

/* What happens before each call, on the thread that makes it; NULL: nothing. */
void attitude_between(void (*happens)(void));

#endif
