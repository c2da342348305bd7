/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock_directory: finds and checks the directory of the locks. Main thread, once; it trusts no
 * directory of another user that it was not given. */
#include "run/lock_directory.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool lock_directory(const char *given, char *directory, size_t size, char *why, size_t why_size)
{
	const char *locks = getenv("SAFESTART_LOCKS"); /* NOLINT(concurrency-mt-unsafe) */
	struct stat status;

	if (given == NULL && locks != NULL && locks[0] != '\0')
		given = locks;
	if (given != NULL)
		snprintf(directory, size, "%s", given);
	else if (geteuid() == 0)
		/* Not the control directory, which may belong to a service's user. */
		snprintf(directory, size, "/run/safestart-locks");
	/* Not $XDG_RUNTIME_DIR: cron and services have none; they and a login shell would have
	 * different locks, and run the command twice [P1]. */
	else
		snprintf(directory, size, "/tmp/safestart-%u", (unsigned)geteuid());
	if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
		snprintf(why, why_size,
			 "cannot create the lock directory: %s: %s; to name another one: "
			 "--lock-dir or $SAFESTART_LOCKS",
			 safestart_strerror(errno), directory);
		return false;
	}
	/* A directory that was named may be shared on purpose; the default one must be this user's.
	 */
	if (lstat(directory, &status) < 0) {
		snprintf(why, why_size, "cannot read the lock directory: %s: %s",
			 safestart_strerror(errno), directory);
		return false;
	}
	if (given == NULL &&
	    (!S_ISDIR(status.st_mode) || (status.st_uid != geteuid() && status.st_uid != 0))) {
		snprintf(why, why_size,
			 "%s user %u; that user could replace the locks in it; not run: remove it "
			 "(as root), or let all callers name another directory by --lock-dir or "
			 "$SAFESTART_LOCKS: %s",
			 S_ISDIR(status.st_mode)
				 ? "the lock directory belongs to"
				 : "the lock directory's place is taken by a file of",
			 (unsigned)status.st_uid, directory);
		return false;
	}
	return true;
}
