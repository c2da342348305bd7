/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* meanwhile: preloaded. It lets another program act at the worst moment. At the first fsync()
 * the file $MEANWHILE.new replaces $MEANWHILE, as by a program that knows of no lock. Before the
 * program opens or checks a file whose path has $MEANWHILE_PATH in it for the $MEANWHILE_AT-th
 * time, the shell runs $MEANWHILE_DO; before the next time, $MEANWHILE_THEN. Before the first
 * rename it runs $MEANWHILE_RENAME. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd);
int access(const char *path, int mode);

static void *the_real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

int fsync(int fd)
{
	const char *path = getenv("MEANWHILE");
	int (*real)(int);
	char from[4096];

	*(void **)&real = the_real("fsync");
	snprintf(from, sizeof(from), "%s.new", path != NULL ? path : "");
	(void)rename(from, path != NULL ? path : "");
	return real(fd);
}

static void before_rename(void)
{
	static atomic_bool before;
	const char *words = getenv("MEANWHILE_RENAME");

	if (words == NULL || atomic_exchange(&before, true))
		return;
	unsetenv("LD_PRELOAD"); /* the shell's commands may rename, too */
	if (system(words) != 0)
		abort();
}

int renameat(int from, const char *old, int to, const char *new)
{
	before_rename();
	return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
	before_rename();
	return (int)syscall(SYS_renameat2, from, old, to, new, flags);
}

static void look(const char *path)
{
	static atomic_long looks;
	const char *wanted = getenv("MEANWHILE_PATH"), *at = getenv("MEANWHILE_AT");

	if (wanted == NULL || at == NULL || strstr(path, wanted) == NULL)
		return;
	long behind = ++looks - atol(at);
	const char *words = behind == 0   ? getenv("MEANWHILE_DO")
			    : behind == 1 ? getenv("MEANWHILE_THEN")
					  : NULL;
	if (words != NULL && system(words) != 0)
		abort();
}

int access(const char *path, int mode)
{
	int (*real)(const char *, int);

	*(void **)&real = the_real("access");
	look(path);
	return real(path, mode);
}

int open64(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...);
	va_list more;

	va_start(more, flags);
	int mode = flags & O_CREAT ? va_arg(more, int) : 0;
	va_end(more);
	*(void **)&real = the_real("open64");
	look(path);
	return real(path, flags, mode);
}

int stat64(const char *restrict path, struct stat64 *restrict status)
{
	int (*real)(const char *, struct stat64 *);

	*(void **)&real = the_real("stat64");
	look(path);
	return real(path, status);
}
