/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* poor: preloaded. It lets one allocation of the program fail, the $POOR-th (with $POOR_SIZE: of
 * those of exactly that size), and then creates the file $POOR_HIT, so that the test knows when
 * there are no more. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static _Atomic long seen;

static int is_the_one(size_t bytes)
{
	static _Atomic long which, size;
	const char *path;
	int fd;

	if (which == 0) {
		const char *text = getenv("POOR");
		const char *its = getenv("POOR_SIZE");
		size = its != NULL ? atol(its) : 0;
		which = text != NULL ? atol(text) : -1;
	}
	if (size != 0 && (size_t)size != bytes)
		return 0;
	if (atomic_fetch_add(&seen, 1) + 1 != which)
		return 0;
	path = getenv("POOR_HIT");
	fd = open(path != NULL ? path : "/dev/null", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return is_the_one(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_the_one(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	return is_the_one(size) ? NULL : __libc_realloc(memory, size);
}
