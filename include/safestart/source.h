/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * source.h - where nodes come from, for those who add a source.
 *
 * A source turns something outside (a file, a registry) into one document: the whole desired
 * set. It never applies anything, and it never has to be right at the first try: failing leaves
 * the live set alone, and it is asked again. libsafestart/source/file.c is one, written with
 * nothing but what is declared here; copy it.
 *
 * Make it known with safestart_conf_add_source(), choose it with source=SCHEME:ARGUMENT.
 *
 * Its functions are called one at a time: open and close on the thread that opens or closes the
 * handle, gather and hint where callbacks run (a thread of the library's; with thread=no inside
 * dispatch). In a forked child the inherited state is closed and a new one opened before the
 * child's first gather; close must therefore change nothing that the parent still uses: close(fd)
 * is right, inotify_rm_watch() is not. If the parent was inside the source at the very moment of
 * the fork, the child can't trust the state: its descriptor is closed, the rest is left.
 */
#ifndef SAFESTART_SOURCE_H
#define SAFESTART_SOURCE_H

#include <safestart/safestart.h>

#ifdef __cplusplus
extern "C" {
#endif

struct safestart_gather;      /* one reading in progress */
struct safestart_source_conf; /* what the user set for the source */

/** A setting of the source's own; the table ends with a NULL key. Keys are best begun with the
 * scheme: "etcd_endpoints". */
struct safestart_source_setting {
	const char *key;
	const char *value; /* default; "" for none */
	const char *help;  /* one line */
};

/** A source. Set `size` to sizeof(struct safestart_source); it grows at its end. */
struct safestart_source {
	size_t size;
	const char *scheme;                              /* letters, digits and '-': "file" */
	const struct safestart_source_setting *settings; /* NULL: none */

	/* Check the settings and make the state; block on nothing. 0; or -errno with the reason in
	 * `why`. */
	int (*open)(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data);

	/* Read all of it: safestart_gather_json() and 0; safestart_gather_unchanged() and 0; an
	 * error by safestart_gather_fail(); or SAFESTART_LATER and safestart_gather_finish() from
	 * any thread. May block, up to run_timeout; after that another may begin while one that
	 * answered LATER is still to be finished. */
	int (*gather)(void *state, struct safestart_gather *gather);

	/* Free the state. Never while a gather is open. */
	void (*close)(void *state);

	/* May be NULL. A descriptor that becomes readable when something may have changed;
	 * negative: none yet, asked again after the next gather. Once there is one, the same for
	 * the state's whole life. */
	int (*fd)(void *state);

	/* The descriptor is readable: empty it. Positive: a change, run soon; 0: nothing of
	 * interest. Must not be NULL where fd is not. */
	int (*hint)(void *state);
};

/**
 * What follows the colon in source=SCHEME:ARGUMENT.
 * Returns: a string, valid during open; "" when nothing follows.
 * Threads: inside open.  Signals: no.  Callbacks: inside open.  Fork: as open.  Since: 1.0
 */
const char *safestart_source_argument(const struct safestart_source_conf *conf);

/**
 * The value of one of the source's own settings, the default when it was not set.
 * Returns: a string, valid during open; NULL when the source has no such setting.
 * Threads: inside open.  Signals: no.  Callbacks: inside open.  Fork: as open.  Since: 1.0
 */
const char *safestart_source_value(const struct safestart_source_conf *conf, const char *key);

/* The functions below take a gather that is open: from the call of `gather` until it returns,
 * or after SAFESTART_LATER until safestart_gather_finish(). One thread at a time for each.
 * Signals: no.  Callbacks: inside gather.  Fork: the parent's only.  Since: 1.0 */

/**
 * Hand over the whole desired set as a file_sd document of `length` bytes. It is parsed here; the
 * buffer stays yours. Returns: 0; -EINVAL malformed, -E2BIG too large, -ENOMEM: return it, the
 * words are kept.
 */
int safestart_gather_json(struct safestart_gather *gather, const char *json, size_t length);

/**
 * It is what the previous gather got, which is known without reading it.
 * Returns: 0; -EAGAIN there is no previous one: read it.
 */
int safestart_gather_unchanged(struct safestart_gather *gather);

/**
 * Fail, in words: what happened and what to do. `error` is -errno.
 * Returns: error, so that `return safestart_gather_fail(…)` reads well.
 */
int safestart_gather_fail(struct safestart_gather *gather, int error, const char *message);

/** Something worth a line in the log that is no failure: a watch that could not be had, say. */
void safestart_gather_warn(struct safestart_gather *gather, const char *message);

/** Returns: 1 when somebody forced this run: read it even if it looks unchanged. */
int safestart_gather_forced(const struct safestart_gather *gather);

/** Returns: 1 when the deadline has passed or the handle was shut down: give up early. */
int safestart_gather_cancelled(const struct safestart_gather *gather);

/** Returns: max_bytes: no need to read more than one byte beyond. */
size_t safestart_gather_max_bytes(const struct safestart_gather *gather);

/**
 * Finish what answered SAFESTART_LATER, exactly once: 0 or -errno. The gather must not be used
 * after it. Returns: 0; -ESTALE: too late, ignored.
 */
int safestart_gather_finish(struct safestart_gather *gather, int error);

#ifdef __cplusplus
}
#endif
#endif
