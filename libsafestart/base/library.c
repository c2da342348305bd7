/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* library: results for people. Static strings, independent of the locale. */
#include <errno.h>
#include <safestart/safestart.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/libc.h"
#include "base/version.h"

const char *safestart_version(void)
{
	return SAFESTART_VERSION;
}

const char *safestart_strerror(int error)
{
	int number = error < 0 && error != INT32_MIN ? -error : error;

	/* What this library means by them, where that is more than the system's words. */
	switch (number) {
	case 0: return "fine";
	case EDEADLK:
		return "this call would wait for itself: made inside a callback, or by the thread "
		       "that has to finish a LATER run";
	case ERANGE: return "a guard rail refused the set";
	case ETIMEDOUT: return "timed out";
	case ESTALE: return "too late, the result is ignored";
	case ECANCELED: return "the handle was shut down";
	case ENODATA: return "answered too long ago: the outcome is no longer kept";
	default: break;
	}
	const char *words = number > 0 ? libc_strerror(number) : NULL;
	return words != NULL ? words : "unknown error";
}

void safestart_free(void *memory)
{
	free(memory);
}
