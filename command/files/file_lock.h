/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_lock: the lock of a node file, which only its owner and root can hold. Waits for a lock up
 * to a deadline that depends on no signal. */
#ifndef SAFESTART_COMMAND_FILE_LOCK_H
#define SAFESTART_COMMAND_FILE_LOCK_H

#include <stdint.h>
#include <sys/stat.h>

/* flock() with a deadline. 0 or -errno; -ETIMEDOUT: another process still holds it. */
int file_lock_wait(int fd, int operation, int64_t timeout);

/* Opens and locks the file .NAME.lock in that directory, and creates it for the owner in `like`.
 * The descriptor, which holds the lock until it is closed; or -errno, -ENOTSUP: this user cannot
 * give files to that owner. */
int file_lock_take(int directory, const char *name, const struct stat *like, int64_t timeout);

#endif
