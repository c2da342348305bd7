/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* later: preloaded. As soon as the file $LATER exists, it is 40 s later for the program. Timers
 * are those of the kernel and do not notice: those that are set from then on expire late. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now)
{
	const char *path = getenv("LATER");
	int (*real)(clockid_t, struct timespec *);

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(id, now);
	if (result == 0 && id == CLOCK_MONOTONIC && path != NULL && access(path, F_OK) == 0)
		now->tv_sec += 40;
	return result;
}
