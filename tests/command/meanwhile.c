/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* meanwhile: preloaded, it puts the file $MEANWHILE.new in the place of $MEANWHILE at the first fsync(): somebody who does not know of
 * any lock, at the worst moment. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int fsync(int fd);

int fsync(int fd)
{
	const char *path = getenv("MEANWHILE");
	int (*real)(int);
	char from[4096];

	*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	snprintf(from, sizeof(from), "%s.new", path != NULL ? path : "");
	(void)rename(from, path != NULL ? path : "");
	return real(fd);
}

