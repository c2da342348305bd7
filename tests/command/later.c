/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* later: preloaded, it makes it 40 s later for the program as soon as there is the file $LATER.
 * Timers are the kernel's, and know nothing of it: those set from then on are late. */
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
