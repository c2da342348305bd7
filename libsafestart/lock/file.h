/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/file: the lock file that processes share: which file may be one, its two locks, and its
 * bytes. The locks belong to the open file description: they end with the process, and a forked
 * child closes its copy. [P18] Dispatching thread; a fork may come at any time. It must not wait
 * for a lock. */
#ifndef SAFESTART_LOCK_FILE_H
#define SAFESTART_LOCK_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which byte of the file is locked. The byte need not exist. */
enum lock_byte {
	LOCK_RUN,  /* a run is in progress [P1] */
	LOCK_STATE /* lock_share: a process changes the open batch */
};

/* Where each part begins. A part is written by one process at a time and lies within a page: a
 * write that SIGKILL interrupts is cut between pages, so a part is old or new, never half. [P18] */
enum lock_part {
	LOCK_HEAD = 0,    /* what this file is, and its holder; written by the holder of LOCK_RUN */
	LOCK_DONE = 4096, /* how the last runs ended; written by the holder of LOCK_RUN */
	LOCK_OPEN = 8192, /* the open batch; written by the holder of LOCK_STATE */
	LOCK_END = 12288
};

#define LOCK_HEAD_SIZE 512
#define LOCK_HOLDER_SIZE 160

struct lock_file {
	const char *path; /* owned by conf */
	/* Held while the descriptor is opened or closed, so that a forked child always knows the
	 * descriptor it has to close. The last of the library's locks in the lock order. */
	pthread_mutex_t opening;
	int fd;         /* -1: not open; changed under `opening` */
	bool allocated; /* the file has room for all parts, even when the disk is full later */
};

void lock_file_init(struct lock_file *file, const char *path);
void lock_file_clear(struct lock_file *file);

/* Can this ever be the path of a lock? Returns: 0; -EINVAL and the reason in `why`. */
int lock_file_check_path(const char *path, char *why, size_t why_size);

/* Open or create the file, or make sure that the open one is still the one at the path, and that it
 * is a lock file. Not while LOCK_RUN is held: it may close the file. Returns: 0; 1: it was
 * truncated and is mended, to be reported; -errno and in `why` the reason with the remedy. */
int lock_file_ready(struct lock_file *file, char *why, size_t why_size);

/* Returns: 0; -EAGAIN: another process holds it; -errno. */
int lock_file_try(struct lock_file *file, enum lock_byte byte);
void lock_file_release(struct lock_file *file, enum lock_byte byte);
bool lock_file_is_free(struct lock_file *file, enum lock_byte byte);

/* Is the open file still the one at the path? Ask after LOCK_RUN was acquired: the file may have
 * been replaced before that. */
bool lock_file_is_current(const struct lock_file *file);

/* Reserve the room for all parts, so that later writes do not fail on a full disk. Returns: 0 or
 * -errno. */
int lock_file_allocate(struct lock_file *file);

/* Returns: 0 or -errno. Bytes beyond the end of the file are read as NUL bytes. */
int lock_file_read(const struct lock_file *file, enum lock_part part, char *bytes, size_t size);
int lock_file_write(const struct lock_file *file, enum lock_part part, const char *bytes,
		    size_t size);

/* Which process holds LOCK_RUN, for people only: the holder writes it, writing may fail, and no
 * decision depends on it. The text is "api (pid 4711)", or "api (pid 4711, not running here)".
 * lock_file_holder() returns how long it has been so in nanoseconds; 0: not known. */
void lock_file_write_holder(const struct lock_file *file, const char *name, bool holds,
			    int64_t now);
int64_t lock_file_holder(const struct lock_file *file, int64_t now, char *holder, size_t size);

/* Around fork. The child closes its copy, so that the lock stays with the parent alone. [P17] */
void lock_file_before_fork(struct lock_file *file);
void lock_file_after_fork_parent(struct lock_file *file);
void lock_file_after_fork_child(struct lock_file *file);

#endif
