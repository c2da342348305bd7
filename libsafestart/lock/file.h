/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/file: the lock file shared between processes: which file may be one, its two locks, and
 * bytes of it. The locks belong to the open file description: they die with the process, and a
 * forked child closes its copy. Nothing here waits. Dispatching thread; a fork may come at any
 * time. */
#ifndef SAFESTART_LOCK_FILE_H
#define SAFESTART_LOCK_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which byte of the file is locked. They need not exist. */
enum lock_byte {
	LOCK_RUN,  /* a run is in progress */
	LOCK_STATE /* lock_share: somebody changes the batch that is open */
};

/* What is where. Each part is written by one process at a time, and lies within a page: a write
 * that is cut short by a SIGKILL is cut between pages. */
enum lock_part {
	LOCK_HEAD = 0,    /* what this file is, and who holds LOCK_RUN, who writes it */
	LOCK_DONE = 4096, /* how the last runs ended: whoever holds LOCK_RUN */
	LOCK_OPEN = 8192, /* the batch that is open: whoever holds LOCK_STATE */
	LOCK_END = 12288
};

#define LOCK_HEAD_SIZE 512
#define LOCK_HOLDER_SIZE 160

struct lock_file {
	const char *path; /* conf's */
	/* So that a fork never comes between having a descriptor and knowing it; last in the order.
	 */
	pthread_mutex_t opening;
	int fd;         /* -1: not open; changed under `opening` */
	bool allocated; /* it has room for everything, even when the disk is full */
};

void lock_file_init(struct lock_file *file, const char *path);
void lock_file_clear(struct lock_file *file);

/* Can this ever be the path of a lock? 0 or -EINVAL and why. */
int lock_file_check_path(const char *path, char *why, size_t why_size);

/* Open it, create it, or make sure that what is open is still what the path names; and that it is a
 * lock's file. 0 or -errno and why, with the remedy. Not while LOCK_RUN is held. */
int lock_file_ready(struct lock_file *file, char *why, size_t why_size);

/* 0; -EAGAIN: somebody else holds it; -errno. */
int lock_file_try(struct lock_file *file, enum lock_byte byte);
void lock_file_release(struct lock_file *file, enum lock_byte byte);
bool lock_file_is_free(struct lock_file *file, enum lock_byte byte);

/* Does the path still name it? After LOCK_RUN was got: before, somebody may have replaced the file.
 */
bool lock_file_is_current(const struct lock_file *file);

/* Make sure that nothing written from here on needs the disk to have room. 0 or -errno. */
int lock_file_allocate(struct lock_file *file);

/* 0 or -errno. What is missing is read as NUL bytes. */
int lock_file_read(const struct lock_file *file, enum lock_part part, char *bytes, size_t size);
int lock_file_write(const struct lock_file *file, enum lock_part part, const char *bytes,
		    size_t size);

/* Who holds LOCK_RUN, for people: written by the holder, who may have failed to; trusted for
 * nothing. The text is "api (pid 4711)"; returned is how long it has been so, in nanoseconds, 0:
 * not known. */
void lock_file_sign(const struct lock_file *file, const char *name, bool holds, int64_t now);
int64_t lock_file_holder(const struct lock_file *file, int64_t now, char *holder, size_t size);

/* Around fork. The child's copy is closed, so that the lock is the parent's alone. */
void lock_file_before_fork(struct lock_file *file);
void lock_file_after_fork_parent(struct lock_file *file);
void lock_file_after_fork_child(struct lock_file *file);

#endif
