/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_size: writing beyond RLIMIT_FSIZE raises SIGXFSZ, which kills a host that does not handle
 * it: with thread=no it is the host's thread that writes. So it is asked before. [P16] Any thread.
 */
#ifndef SAFESTART_BASE_FILE_SIZE_H
#define SAFESTART_BASE_FILE_SIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* May this process not write a file of so many bytes? Where the limit is not known there is none.
 */
static inline bool file_size_is_too_large(uint64_t bytes)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY};

	(void)getrlimit(RLIMIT_FSIZE, &limit);
	return bytes > limit.rlim_cur;
}

#endif
