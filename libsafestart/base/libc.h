/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libc: what glibc has and another C library (musl) may lack. The build says what there is
 * (HAVE_…); -Dfallbacks=true leaves all of it out, so that tests see the other way. Any thread. */
#ifndef SAFESTART_BASE_LIBC_H
#define SAFESTART_BASE_LIBC_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1u << 0)
#define RENAME_EXCHANGE (1u << 1)
#endif

static inline int libc_renameat2(int from_directory, const char *from, int to_directory,
				 const char *to, unsigned flags)
{
#ifdef HAVE_RENAMEAT2
	return renameat2(from_directory, from, to_directory, to, flags);
#else
	return (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
#endif
}

/* In words, as a static string; NULL: there is no such error, as far as is known. glibc's follow no
 * locale, which in musl needs no care: its words are English unless the program brings others. */
static inline const char *libc_strerror(int error)
{
#ifdef HAVE_STRERRORDESC_NP
	return strerrordesc_np(error);
#else
	const char *words = strerror(error); /* NOLINT(concurrency-mt-unsafe): not in musl */
	bool unknown = strncmp(words, "Unknown error", 13) == 0 || /* glibc */
		       strcmp(words, "No error information") == 0; /* musl */
	return unknown ? NULL : words;
#endif
}

#endif
