/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * source.h - for those who add a source: a place where nodes come from.
 *
 * A source turns something outside (a file, a registry) into one document: the whole
 * desired set. It never applies anything, and it may fail at any time: a failure leaves the
 * live set alone, and the source is asked again. libsafestart/source/file.c is a source that
 * uses only what is declared here: copy it to begin.
 *
 * Add a source with safestart_conf_add_source(), choose it with source=SCHEME:ARGUMENT.
 *
 * Its functions are called one at a time: open and close on the thread that opens or closes
 * the handle, gather and hint where callbacks run (on a thread of the library; with thread=no
 * inside dispatch).
 *
 * In a forked child the inherited state is closed, and a new one is opened before the child's
 * first gather. So close must change nothing that the parent still uses: close(fd) is right,
 * inotify_rm_watch() is not. If the parent was inside the source at the moment of the fork,
 * the child cannot trust the state: its descriptor is closed, and the rest is left as it is.
 */
#ifndef SAFESTART_SOURCE_H
#define SAFESTART_SOURCE_H

#include <safestart/safestart.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Also for a program that is built with -fvisibility=hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct safestart_gather;      /* one reading in progress */
struct safestart_source_conf; /* the settings that the user made for the source */

/** One setting of a source; a NULL key ends the table. Begin a key with the scheme, such as
 * "etcd_endpoints". */
struct safestart_source_setting {
	const char *key;
	const char *value; /* default; "" for none */
	const char *help;  /* one line */
};

/** A source. Set `size` to sizeof(struct safestart_source); the struct grows at its end. */
struct safestart_source {
	size_t size;
	const char *scheme;                              /* letters, digits and '-': "file" */
	const struct safestart_source_setting *settings; /* NULL: none */

	/* Check the settings and make the state; block on nothing.
	 * Returns: 0; or -errno with the reason in `why`. */
	int (*open)(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data);

	/* Read the whole desired set. May block, up to run_timeout; after that the next gather may
	 * begin while one that returned LATER is not finished yet.
	 * Returns: 0 after safestart_gather_json() or safestart_gather_unchanged(); an error by
	 * safestart_gather_fail(); or SAFESTART_LATER, and then safestart_gather_finish() from any
	 * thread. */
	int (*gather)(void *state, struct safestart_gather *gather);

	/* Free the state. Never called while a gather is open. */
	void (*close)(void *state);

	/* A descriptor that becomes readable when something may have changed. May be NULL.
	 * Returns: the descriptor, the same one for the whole life of the state; negative: none
	 * yet, asked again after the next gather. */
	int (*fd)(void *state);

	/* The descriptor is readable: empty it. Must not be NULL if fd is not NULL.
	 * Returns: positive: a change, run soon; 0: nothing of interest. While such hints keep
	 * coming the descriptor is looked at ten times a second at most. */
	int (*hint)(void *state);
};

/**
 * The text after the colon in source=SCHEME:ARGUMENT.
 * Returns: a string, valid during open; "" when nothing follows.
 * Threads: inside open.  Signals: no.  Callbacks: inside open.  Fork: as open.  Since: 1.0
 */
const char *safestart_source_argument(const struct safestart_source_conf *conf);

/**
 * The value of one of the source's own settings; its default when it was not set.
 * Returns: a string, valid during open; NULL when the source has no such setting.
 * Threads: inside open.  Signals: no.  Callbacks: inside open.  Fork: as open.  Since: 1.0
 */
const char *safestart_source_value(const struct safestart_source_conf *conf, const char *key);

/* The functions below take a gather that is open: from the call of `gather` until it returns, or
 * after SAFESTART_LATER until safestart_gather_finish().
 * Threads: one at a time for each gather.  Signals: no.  Callbacks: inside gather.  Fork: the
 * parent's only.  Since: 1.0 */

/**
 * Hand over the whole desired set as a file_sd document of `length` bytes. It is parsed here; the
 * buffer stays yours.
 * Returns: 0; -EINVAL malformed; -E2BIG too large; -ENOMEM. Return an error from gather as it is:
 *   its text is kept.
 */
int safestart_gather_json(struct safestart_gather *gather, const char *json, size_t length);

/**
 * The set is the one that the previous gather got, and this is known without parsing it: by a hash
 * or a revision of what it is made of. Returns: 0; -EAGAIN when there is no previous one: read the
 * set.
 */
int safestart_gather_unchanged(struct safestart_gather *gather);

/**
 * Fail, with a message: what happened and what to do. `error` is -errno.
 * Returns: error, so that gather can end with `return safestart_gather_fail(…)`.
 */
int safestart_gather_fail(struct safestart_gather *gather, int error, const char *message);

/** Log a warning that is no failure, such as: a watch could not be set up. If every gather gives
 * the same one, it is logged at its 1st, 2nd, 4th, 8th … time, and at LOG_DEBUG in between. The
 * application's `log` is called here, on this thread. */
void safestart_gather_warn(struct safestart_gather *gather, const char *message);

/** Returns: 1 when this run is forced: read the set even if it looks unchanged. */
int safestart_gather_forced(const struct safestart_gather *gather);

/** Returns: 1 when the deadline has passed or the handle was shut down: give up early. */
int safestart_gather_cancelled(const struct safestart_gather *gather);

/** Returns: max_bytes. There is no need to read more than one byte beyond it. */
size_t safestart_gather_max_bytes(const struct safestart_gather *gather);

/**
 * Finish a gather that returned SAFESTART_LATER, exactly once: 0 or -errno. The gather must not
 * be used after it. As with safestart_run_finish(), it may come before gather has returned.
 * Returns: 0; -ESTALE: too late, the result is ignored; -EALREADY: finished before, and gather is
 *   still inside.
 */
int safestart_gather_finish(struct safestart_gather *gather, int error);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
