/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * safestart.h - makes "the storage nodes changed" harmless.
 *
 * A handle keeps the set of storage nodes that an API server works with. Any part of
 * the program may ask, at any time and as often as it likes, for the node locations to
 * be read again: requests in close succession become one run, runs never overlap, and a
 * run either puts a whole new generation of nodes live or leaves the old one serving.
 *
 * Conventions, for every function below:
 *
 * - Results: 0 or positive is success, negative is -errno. safestart_strerror() gives
 *   the text. A `why` buffer gets the full explanation; it may be NULL, and it always
 *   ends in a NUL byte.
 * - Strings are UTF-8. What is passed in is copied before the call returns.
 * - Times are in nanoseconds or milliseconds; the name has the unit. All of them are
 *   CLOCK_MONOTONIC. A negative timeout waits without limit, 0 does not wait.
 * - pthread_cancel(): a thread may be cancelled in safestart_wait() and in
 *   safestart_wait_ready() until the event that it waits for has come; this changes
 *   nothing for other threads. With thread=no it is not cancelled while it does the
 *   work there. Nothing else is a cancellation point, and callbacks run with
 *   cancellation disabled, on whatever thread. Asynchronous cancellation is not allowed
 *   anywhere.
 * - Each comment ends with the same block: what the function returns, which threads may
 *   call it, whether a signal handler may call it, whether a callback may call it, what
 *   a forked child may expect, and since when it exists.
 *   "Fork: revives" means: in a forked child the first such call makes the handle the
 *   child's own, as safestart_after_fork() does; not so with start=after_fork.
 *
 * What may run at the same time as what, for one handle:
 *
 *                      | request | wait | read | push/status | dispatch | shutdown | close
 *   request            |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   wait, wait_ready   |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  yes (1)
 *   read, acquire      |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   release            |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  yes
 *   push, status       |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   dispatch           |   yes   | yes  | yes  |     yes     |   no (2) |   yes    |  no (2)
 *   shutdown           |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   close              |   no    | yes  | no   |     no      |   no     |   no     |  no
 *
 *   push: nodes_replace, announce, withdraw.
 *   (1) Waiters are answered at once; close waits until they have left.
 *   (2) The second one gets -EBUSY.
 *   Callbacks of one handle never overlap each other, except `log`.
 *   Two handles share nothing: everything above holds for each handle by itself.
 */
#ifndef SAFESTART_SAFESTART_H
#define SAFESTART_SAFESTART_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Also for a program that is built with -fvisibility=hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct safestart;          /* a handle */
struct safestart_conf;     /* settings, before a handle is opened */
struct safestart_snapshot; /* one generation: an immutable set of nodes, and your data */
struct safestart_node;     /* one storage node in a snapshot */
struct safestart_run;      /* one run, as its callbacks see it */
struct safestart_source;   /* where nodes come from; see source.h */

/** How a run ended, and with it every request that it covered. */
enum safestart_verdict {
	SAFESTART_PENDING = -1,  /* not ended yet */
	SAFESTART_APPLIED = 0,   /* a new generation is live, or `restart` was carried out */
	SAFESTART_UNCHANGED = 1, /* the live set already is this one, apart from left-out nodes */
	SAFESTART_REFUSED = 2,   /* malformed, or a guard rail: no retry until the input changes */
	SAFESTART_FAILED = 3,    /* the source or a callback failed: retried in the background */
	SAFESTART_TIMED_OUT = 4, /* took longer than run_timeout: retried in the background */
	SAFESTART_CANCELLED = 5  /* the handle was shut down */
};

/** Flags of safestart_request(). */
enum safestart_request_flag {
	SAFESTART_FORCE = 1,  /* lifts max_shrink and min_nodes for its batch, and when the nodes
			       * cannot be read for the next set that can; from then on its set
			       * is what counts, not larger ones before it (shrink_window);
			       * an empty set still needs allow_empty */
	SAFESTART_URGENT = 2, /* skips debounce and backoff, but not min_interval */
	SAFESTART_PROCESS = 4 /* reload, then hand over to a new process; this version refuses
			       * it: ticket 0 */
};

/** What this process knows of a node. */
enum safestart_node_state {
	SAFESTART_NODE_UNKNOWN = 0,     /* not in the node set: neither announced nor live */
	SAFESTART_NODE_ANNOUNCED = 1,   /* in the desired set, not live yet */
	SAFESTART_NODE_APPLIED = 2,     /* live, but no request to it has been reported yet */
	SAFESTART_NODE_PROVEN = 3,      /* live, and the newest report says it works */
	SAFESTART_NODE_FAILING = 4,     /* live, and the newest report says it does not work */
	SAFESTART_NODE_QUARANTINED = 5, /* announced, but unusable or rejected; see `why` */
	SAFESTART_NODE_RETIRED = 6      /* has left the set, but a reader still holds it */
};

/** How a node of the candidate differs from the live set. */
enum safestart_change {
	SAFESTART_ADDED = 1,   /* only the candidate has it */
	SAFESTART_REMOVED = 2, /* only the live set has it */
	SAFESTART_CHANGED = 3  /* its address or a label differs; the incarnation is a label */
};

/** What an event says, with events=pull; see safestart_next_event(). */
enum safestart_event_kind {
	SAFESTART_EVENT_PREPARE = 1,     /* `run`: do what `prepare` does, and finish the run */
	SAFESTART_EVENT_RESTART = 2,     /* `run`: do what `restart` does, and finish the run */
	SAFESTART_EVENT_COMMITTED = 3,   /* `run_number`: its generation went live */
	SAFESTART_EVENT_CANCELLED = 4,   /* `run`, which you were given and have not finished: its
					  * deadline has passed, or the handle was shut down. Going on
					  * is pointless, finish it */
	SAFESTART_EVENT_RETIRE = 5,      /* `key` of a generation: no reader can see it any more */
	SAFESTART_EVENT_RETIRE_NODE = 6, /* `key` of a node: as above */
	SAFESTART_EVENT_OUTCOME = 7,     /* `outcome`: a run has ended */
	SAFESTART_EVENT_LOG = 8          /* `level` and `text`: one line for the log */
};

/** Returned by `prepare`, `restart` or a source's gather: it will finish later. */
#define SAFESTART_LATER 1

/**
 * How a run ended. Set `size` to sizeof(struct safestart_outcome) before you pass one
 * in. The struct grows at its end in later versions; a caller that was built against an
 * older version gets the part it knows.
 */
struct safestart_outcome {
	size_t size;          /* sizeof(struct safestart_outcome) */
	uint64_t run;         /* which run covered the ticket; 0: none (shut down before) */
	uint64_t generation;  /* the generation that was live when it ended */
	uint64_t requests;    /* how many it coalesced; with lock_share those of all processes;
			       * one process counts up to 65535, which means "or more" */
	uint32_t attempts;    /* runs in a row that tried this set, this one included */
	uint32_t quarantined; /* entries left out as unusable or rejected; 0 if it timed out
			       * or was cancelled */
	int32_t verdict;      /* enum safestart_verdict */
	int32_t error;        /* 0; or -errno, for every verdict from REFUSED on */
	char message[256];    /* in words: what happened, what to do, when it is retried */
	uint64_t ticket;      /* this ticket and every older one is answered */
	int32_t status;       /* the number `restart` set by safestart_run_set_status(), such
			       * as an exit code; else 0 */
	int32_t pid;          /* the process that made the run, with lock_share perhaps another
			       * one; 0: none */
	uint64_t merged;      /* in `outcome`: so many outcomes directly before this one were left
			       * out, because a callback did not return; else 0 */
};

/**
 * What happened, with events=pull. Set `size` to sizeof(struct safestart_event) before you
 * pass one in. The struct grows at its end in later versions. What a kind does not name is 0
 * or NULL.
 */
struct safestart_event {
	size_t size;               /* sizeof(struct safestart_event) */
	int32_t kind;              /* enum safestart_event_kind; ignore those you don't know */
	int32_t level;             /* of a line for the log, as in <syslog.h> */
	uint64_t run_number;       /* of the run that it is about; 0: none */
	struct safestart_run *run; /* valid until you finish it */
	uint64_t key;              /* what is retired */
	const struct safestart_outcome *outcome; /* valid as long as text */
	const char *text; /* a line for the log, or the outcome's message; valid until the next
			   * safestart_next_event() of this handle, on whatever thread, or close */
};

/**
 * The application's part. Any member may be NULL. Set `size` to
 * sizeof(struct safestart_callbacks); the struct grows at its end.
 *
 * Callbacks are called with no lock held, so they may call back into the library:
 * everything except wait, wait_ready, close and dispatch (these return -EDEADLK there).
 *
 * With thread=yes callbacks are called on two threads of the library, with all signals
 * blocked but those of a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT),
 * which the application's handler sees. Each call may come on either thread, so nothing may
 * depend on thread-local data. They come one at a time, except `log`, which both threads call.
 *
 * A callback returns: a C++ exception or pthread_exit() must not leave it. With thread=yes an
 * exception ends the process (std::terminate()). With thread=no both come out of the function
 * that dispatches; a `prepare` or `restart` that was left has failed, and the handle goes on.
 * One that leaves `log`, `retire` or `retire_node` may leak memory, or stop the handle for good.
 *
 * A fork on another thread may come in the middle of any of them. What a callback has half
 * done in memory is half done in the child for ever: a `log` or `prepare` that prints by
 * stdio may leave the child a stdio that hangs or crashes, in exit() too. A program that forks
 * children which do more than exec opens with start=after_fork: then no callback comes before.
 *
 * With thread=no callbacks are called only inside safestart_dispatch(),
 * safestart_wait(), safestart_wait_ready() and safestart_close(), one at a time.
 * They need no thread. One of the library waits for readers, and if it cannot be started,
 * these functions wait for them, as long as a reader stays; the log says so.
 *
 * Three exceptions. If a snapshot is still owned when the handle is closed, its data is
 * retired on the thread that releases the snapshot. A source that warns after it answered
 * SAFESTART_LATER (safestart_gather_warn()) calls `log` on its own thread, at any time. And
 * a safestart_close() that gives up says why on the thread that called it.
 */
struct safestart_callbacks {
	size_t size;

	/* The set changed: prepare what the candidate needs (see safestart_run_change()). Do
	 * nothing that cannot be undone: the run can still fail. Not called for a set that did
	 * not change.
	 * Returns: 0; -errno: nothing is applied, retried later; SAFESTART_LATER. Any other
	 * positive value is a mistake and taken as -EINVAL.
	 * May be called for the next run while an older one, which returned LATER, is past its
	 * deadline and not finished yet. */
	int (*prepare)(struct safestart_run *run, void *user_data);

	/* Give back data that safestart_run_set_data() attached to a generation: no reader can
	 * see it any more. Called exactly once for each pointer that was handed over. */
	void (*retire)(void *data, void *user_data);

	/* One line for the log, in UTF-8, without a newline. Levels are those of <syslog.h>. A
	 * failure that repeats by itself is logged at its 1st, 2nd, 4th, 8th … time, and at
	 * LOG_DEBUG in between. It may be called from several threads at once: the two of the
	 * library, and those of the exceptions above. Be quick: the library decides nothing until
	 * it returns. */
	void (*log)(int level, const char *message, void *user_data);

	/* Called for every run that ended, in order. The outcome is valid during the call. While
	 * another callback does not return, 16 outcomes wait at most: from then on the newest one
	 * takes the place of the one before it, and `merged` counts those that were left out.
	 * Waiters are answered first, so safestart_wait() may have returned already. (With
	 * thread=yes it needs a thread. If that thread cannot be started, which is then also why
	 * the run failed, the log has the outcome instead.) */
	void (*outcome)(const struct safestart_outcome *outcome, void *user_data);

	/* As `retire`, for data that safestart_run_set_node_data() attached to a node. */
	void (*retire_node)(void *data, void *user_data);

	/* Reload everything else that needs it. Called after commit in every run that gets that
	 * far, for an unchanged set too, but not for a `reconcile` that found nothing new, and once
	 * for a request or a set: a retry calls it only if it failed or was not reached before.
	 * Returns as `prepare` does. A failure makes the run FAILED, and it is retried; a
	 * generation that was committed stays live. */
	int (*restart)(struct safestart_run *run, void *user_data);

	/* The run's candidate is live: right after commit, before `restart`. It may take as long as
	 * it likes; the outcome waits for it. */
	void (*committed)(struct safestart_run *run, void *user_data);

	/* Give back user_data: the last call of all, once, when nothing can come any more. In
	 * safestart_close(), or, if snapshots are still owned then, in the last
	 * safestart_snapshot_release(). In each process that closes a handle which it has opened or
	 * made its own; not after a safestart_open() that failed. */
	void (*destroy)(void *user_data);
};

/* ---- The library ------------------------------------------------------- */

/**
 * The version of the library that is loaded, such as "1.0.0".
 * Returns: a static string, never NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
const char *safestart_version(void);

/**
 * A result of this library in words; `error` may be -errno or errno. Does not depend on
 * the locale.
 * Returns: a static string, never NULL, for unknown numbers too.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
const char *safestart_strerror(int error);

/**
 * Free a string that this library returned as `char *`. NULL is allowed.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
void safestart_free(void *memory);

/* ---- Settings ---------------------------------------------------------- */

/**
 * New settings, all at their defaults.
 * Returns: settings, freed with safestart_conf_free(); NULL when out of memory.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
struct safestart_conf *safestart_conf_new(void);

/**
 * Free settings; a handle that was opened with them has its own copy. NULL is allowed.
 * Threads: any, while no other thread uses conf.  Signals: no.  Callbacks: allowed.
 * Fork: safe.  Since: 1.0
 */
void safestart_conf_free(struct safestart_conf *conf);

/**
 * Set one setting; safestart_setting() lists them. The last value given counts.
 * Durations take ns us ms s m h, sizes KiB MiB GiB, booleans yes and no; a duration
 * without a unit is refused, except 0.
 * Returns: 0; -EINVAL for an unknown key, a bad value or a NULL argument, with the reason
 *   and the nearest valid key in `why`; -ENOMEM. On error nothing changed.
 * Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.
 * Since: 1.0
 */
int safestart_conf_set(struct safestart_conf *conf, const char *key, const char *value, char *why,
		       size_t why_size);

/**
 * Set the callbacks, and the pointer that all of them get as `user_data`. The struct is
 * copied. What user_data points to has to live until safestart_close() has returned 0
 * and the last owned snapshot is released.
 * Returns: 0; -EINVAL when conf or callbacks is NULL, or callbacks->size is smaller than up to
 *   `restart`.
 * Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.
 * Since: 1.0
 */
int safestart_conf_set_callbacks(struct safestart_conf *conf,
				 const struct safestart_callbacks *callbacks, void *user_data);

/**
 * Add a source of your own, so that `source` may name its scheme and its settings may be
 * set. The struct is copied; its strings have to outlive conf and every handle that is
 * opened with conf. See source.h.
 * Returns: 0; -EINVAL when a required member is missing; -EEXIST when the scheme or a
 *   setting is taken; -ENOMEM.
 * Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.
 * Since: 1.0
 */
int safestart_conf_add_source(struct safestart_conf *conf, const struct safestart_source *source,
			      void *user_data);

/**
 * The table of settings, one row a call, from index 0. Any out pointer may be NULL; the
 * strings are static. `value` is the default, "" for none.
 * Returns: 0; -ENOENT past the end.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_setting(size_t index, const char **key, const char **value, const char **help);

/**
 * The id of a target that has no id label: its address, in the one spelling that the library uses:
 * small letters, the shortest form of an IPv6 address, a port without leading zeros. A target
 * without a port gets conf's default_port. NULL conf: the defaults. `id` has `size` bytes; 272 are
 * always enough.
 * Returns: the length of the id; -EINVAL when it is not an address; -ENOSPC when `size` is too
 *   small. On an error `id` is unchanged.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_target_id(const struct safestart_conf *conf, const char *target, char *id,
			size_t size);

/**
 * Would this document be accepted? Parses `json` as the library would, and checks it
 * against the settings that need no live set (max_bytes, max_nodes, min_nodes,
 * allow_empty). NULL conf: the defaults.
 * Returns: 0 when all of it is usable, with the number of nodes in `why` and, behind a semicolon,
 *   what was probably not meant; positive: the number of entries that would be
 *   quarantined, with the first one's reason in `why`; -EINVAL malformed, or nothing in
 *   it is usable; -E2BIG too large; -ERANGE a guard rail; -ENOMEM. `why` has the text.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_check(const struct safestart_conf *conf, const char *json, char *why,
		    size_t why_size);

/* ---- A handle's life --------------------------------------------------- */

/**
 * Open a handle. NULL conf means defaults: a pushed set, and threads of its own.
 *
 * - It never blocks on a source. The first load goes on in the background
 *   (safestart_wait_ready()); until then readers find generation 0, an empty set.
 * - With thread=yes one thread is started here, and more when they are first needed; all
 *   of them block every signal.
 * - Callbacks may come before this has returned; *out is set before them.
 * - With `control`, one more thread ("safestart-ctl", with thread=no too) makes the socket
 *   NAME.PID.sock in that directory and answers there. The socket has mode 0600: this
 *   user and root may connect. The thread calls no function of the application. A missing
 *   directory is created, with mode 0700, if only its last part is missing. If the socket
 *   cannot be created, the log says so, and it is retried every `reconcile` (30 s when
 *   that is 0).
 * - With start=after_fork there are no threads, no socket and no callbacks yet; see
 *   safestart_after_fork().
 * - Open the handle after privileges were dropped.
 *
 * Returns: 0 and the handle in *out; -EINVAL for contradictory settings or an unusable
 *   source; -ENOTDIR when `control` is not a directory; -ENOMEM; -EMFILE; -ENFILE; -EAGAIN
 *   (no thread). On error `why` has the text, *out is NULL and nothing is left behind.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: see safestart_after_fork().
 * Since: 1.0
 */
int safestart_open(struct safestart **out, const struct safestart_conf *conf, char *why,
		   size_t why_size);

/**
 * Wait until a first generation is live. With source=none there is none to wait for: 0 at
 * once. While there is none, safestart_last_outcome() says why. In a forked child an
 * inherited generation counts, although its data is NULL.
 * Returns: 0; -ETIMEDOUT; -ECANCELED after shutdown; -EDEADLK in a callback, and with
 *   thread=no on the dispatching thread while a LATER run is open, as safestart_wait();
 *   -EAGAIN before the start (start=after_fork), at once; -EINVAL when ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives.  Since: 1.0
 */
int safestart_wait_ready(struct safestart *ss, int timeout_ms);

/**
 * Make the handle this forked child's own: its threads are started, and a run begins at
 * once in which every node counts as added. Generation numbers go on from the parent's.
 *
 * Before this call the child reads the inherited nodes with NULL as their data (the pools
 * belong to the parent and are never retired here), and its requests are kept. Data stays
 * NULL until that first run has put the child's own generation live.
 * safestart_wait_ready() does not wait for that; make a request in the child and wait for
 * it with safestart_wait().
 *
 * If that run fails because of its source, the child prepares the nodes that it inherited
 * instead; the outcome is still that of the source. If `prepare` fails, the messages say that
 * nothing of the inherited generation is prepared here.
 *
 * With start=after_fork this call is what starts the handle, in the process that opened it as
 * well as in each child; no other call does. Before it nothing runs: there is no thread, no
 * socket and no callback, so a fork finds nothing half done. Requests and pushed nodes are kept,
 * for every child; wait gives -EAGAIN instead of waiting; status says "not started".
 *
 * Calling it again, or (with start=open) in a process that did not fork, changes nothing. A
 * child that was forked inside a callback must not return from that callback. A child that calls
 * exec or exits at once does not need it. (The library takes care of liburcu-bp around fork, for
 * the whole process: an application that uses liburcu-bp too must not call its fork
 * handlers a second time.)
 *
 * Only fork() (and vfork(), posix_spawn()) is known to the library. A child made by _Fork() or
 * clone() must exec or end and use nothing of the library. Until then it keeps the parent's
 * descriptors, and with them the process lock (`lock`), even when the parent has ended; the
 * messages of those that wait say "held by NAME (pid 4711, not running here)" then.
 * Returns: 0; -ENOMEM, -EMFILE, -ENFILE or -EAGAIN: call it again when there are enough
 *   resources; -EINVAL when ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: this is it.  Since: 1.0
 */
int safestart_after_fork(struct safestart *ss);

/**
 * Is this a forked child that has not called safestart_after_fork() (nor anything else that
 * revives)? Costs one comparison.
 * Returns: 1 if it is; else 0, also with start=after_fork in the process that opened the handle;
 *   -EINVAL when ss is NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_forked(const struct safestart *ss);

/**
 * In a forked child (with start=after_fork also in the process that opened the handle),
 * before safestart_after_fork(): give this process another `name`, its
 * own `control` directory (also when the parent has none), or `serves`. The other settings
 * are as the handle was opened. Without this call a child has its parent's name and
 * directory, and it serves: `serves=no` is of the process that set it, such as a master.
 * Returns: 0; -EBUSY: this process has not been forked since it opened the handle, or the
 *   handle is its own already; -EINVAL for another key, a bad value or a NULL argument;
 *   -ENOTDIR when `control` is not a directory; -ENOMEM. `why` has the text. On error
 *   nothing changed.
 * Threads: any, while no other thread uses ss.  Signals: no.  Callbacks: no.  Fork: for the
 * child.  Since: 1.0
 */
int safestart_after_fork_set(struct safestart *ss, const char *key, const char *value, char *why,
			     size_t why_size);

/**
 * Start no more runs. Every open ticket is answered CANCELLED at once, those of the run in
 * progress included. One exception: a run whose set is live already, or whose deadline has
 * passed, and that is just not answered yet. It is answered when the library's thread gets to
 * it, by its true outcome, or CANCELLED if its `restart` was still to be called; the newer
 * tickets are answered CANCELLED directly after it. A callback in progress can see a shutdown
 * by safestart_run_cancelled(). Reading still works. Never blocks; may be called again.
 * Returns: 0; -EINVAL when ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the child's only.  Since: 1.0
 */
int safestart_shutdown(struct safestart *ss);

/**
 * Shut down; wait for the callback in progress, for open LATER runs, for threads inside
 * wait and for borrowers, together at most run_timeout; then retire everything and free
 * the handle. Snapshots that are still owned outlive it. NULL is allowed.
 *
 * No thread may read after this was called, even if it gives up; the log then says what it
 * waited for, unless that is `log` itself. With thread=no it does the remaining work on the
 * calling thread. In a process that has not started the handle (a forked child that was not
 * revived; start=after_fork) it calls no callback. Where no thread
 * can be started, it waits for borrowers without a limit.
 * Returns: 0 and ss is gone; -ETIMEDOUT; -EDEADLK in a callback, and with thread=no while
 *   the finish of a LATER run is missing, also of one past its deadline (finish it first;
 *   the gather of a source with a descriptor goes on from here); -EBUSY: thread=no and
 *   another thread is in dispatch. After an error the handle is still valid: call it again.
 * Threads: one, while others use ss in wait only.  Signals: no.  Callbacks: -EDEADLK.
 * Fork: the child's only.  Since: 1.0
 */
int safestart_close(struct safestart *ss);

/* ---- Requests and their outcomes --------------------------------------- */

/**
 * Ask for the node locations to be applied; returns without waiting. The run that covers
 * the request begins to read after this call, and sees everything that the caller wrote
 * before it. Requests in close succession share one run and one ticket. Takes no lock,
 * allocates nothing, keeps errno, and is never refused because of its rate.
 * Returns: the ticket of the batch that covers this request, for safestart_wait(); 0 when
 *   ss is NULL or shut down. Tickets start at 1 and rise by 1 for each batch.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: kept until the child is revived.
 * Since: 1.0
 */
uint64_t safestart_request_restart(struct safestart *ss);

/**
 * As safestart_request_restart(), with flags (enum safestart_request_flag, or-ed) and a
 * reason in words. The reason may be NULL; of the first reason in a batch the first 127
 * bytes are kept.
 * Returns: the ticket; 0 when ss is NULL or shut down, or when flags has a bit that this
 *   version does not know.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: kept until the child is revived.
 * Since: 1.0
 */
uint64_t safestart_request(struct safestart *ss, uint32_t flags, const char *reason);

/**
 * Is this ticket answered? Never blocks, and with thread=no does no work. `outcome` as in
 * safestart_wait().
 * Returns: 0 when answered, whatever the verdict; -EAGAIN not yet, and `outcome` is unchanged;
 *   -EINVAL and -ENODATA as safestart_wait(); -ENOMEM, -EMFILE, -ENFILE or -EAGAIN when a child
 *   cannot be revived.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_try_wait(struct safestart *ss, uint64_t ticket, struct safestart_outcome *outcome);

/**
 * Wait for the one outcome of a ticket. A waiter that gives up changes nothing for others.
 * `outcome` may be NULL; otherwise its `size` has to be set. With thread=no the thread that
 * dispatched last does the work from here.
 * Returns: 0 when answered, whatever the verdict; -ETIMEDOUT, with PENDING and what is
 *   being waited for in the outcome; -EDEADLK in a callback, and with thread=no on the
 *   dispatching thread while a LATER run is open that has neither its finish nor its
 *   deadline behind it (unless timeout_ms is 0, or it is the gather of a source with a
 *   descriptor, which goes on from here); -EINVAL: NULL, a
 *   ticket that was never issued, or outcome->size too small; -ENODATA: answered, but no
 *   longer kept (the last 1024 are); -EAGAIN: not answered, and with start=after_fork not
 *   started in this process, so that nothing would come.
 * Threads: any.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives; tickets from before the
 * fork are answered by the child's first run, or CANCELLED when it was shut down before.
 * Since: 1.0
 */
int safestart_wait(struct safestart *ss, uint64_t ticket, int timeout_ms,
		   struct safestart_outcome *outcome);

/**
 * How the newest run ended, whether it was requested or not.
 * Returns: 0; -EAGAIN before the first run has ended; -EINVAL: NULL, or outcome->size too
 *   small.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_last_outcome(struct safestart *ss, struct safestart_outcome *outcome);

/* ---- Setting the nodes by call (source=push) ---------------------------- */

/**
 * Replace the whole desired set by a Prometheus file_sd document, and ask for it to be
 * applied: [{"targets":["10.0.0.1:8087"],"labels":{"id":"riak-1","zone":"a"}}]. The last
 * call wins. Unusable entries are quarantined. The run applies the guard rails; the set is
 * kept even when the run refuses it, so that a forced request can apply it.
 * Returns: 0 and the ticket in *ticket (may be NULL), with what was probably not meant in
 *   `why`, which the log has too, and "" when there is nothing; -EINVAL malformed, with the
 *   reason in `why`, and nothing changed; -E2BIG, -ENOMEM likewise; -ENOTSUP when the source is
 *   not push; -ECANCELED after shutdown.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_nodes_replace(struct safestart *ss, const char *json, uint64_t *ticket, char *why,
			    size_t why_size);

/**
 * Add one node to the desired set, or give the node with this id another address or
 * incarnation; its labels stay. NULL as incarnation keeps the old one. If no set was ever
 * pushed, it starts from the live set, or from the one that last_good keeps. It always asks
 * for the set to be applied: announcing twice is harmless. The log warns when another node has
 * this address.
 * Returns: 0 and the ticket in *ticket (may be NULL); -EINVAL for a bad id or address;
 *   -ENOMEM; -E2BIG when max_nodes is reached; -ENOTSUP when the source is not push;
 *   -ECANCELED after shutdown.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_node_announce(struct safestart *ss, const char *id, const char *address,
			    const char *incarnation, uint64_t *ticket);

/**
 * Take one node out of the desired set, and ask for the set to be applied.
 * Returns: 0 and the ticket in *ticket (may be NULL); -ENOENT when the desired set has no
 *   such id; -EINVAL NULL; -ENOMEM; -ENOTSUP when the source is not push; -ECANCELED after
 *   shutdown.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_node_withdraw(struct safestart *ss, const char *id, uint64_t *ticket);

/**
 * Report how a real request to a node went. 0: it worked. Anything else: it failed, with
 * this errno or -errno, which is then shown with the node's state (1 and -1 only say that
 * it failed). The newest report makes the node proven or failing. Costs two loads when it
 * changes nothing. The node has to be from a snapshot that is borrowed or owned; NULL is
 * allowed.
 * Returns: 0.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: counts for the process that
 * made it only; a child knows none of its parent's reports.  Since: 1.0
 */
int safestart_node_report(const struct safestart_node *node, int error);

/**
 * What this process knows of a node.
 * Returns: enum safestart_node_state, with the reason or an explanation in `why`; -EINVAL
 *   when ss or id is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_node_state(struct safestart *ss, const char *id, char *why, size_t why_size);

/* ---- Reading ----------------------------------------------------------- */

/**
 * Borrow the live snapshot: for the hot path. The snapshot, its nodes and their data stay
 * valid until safestart_read_unlock() on the same thread. Borrows may be nested.
 *
 * In between do not block, do not fork, do not close the handle, and call only functions
 * that are signal-safe. A borrower that stays delays what is retired, but never the next
 * reload. Grace periods are those of liburcu-bp, one for the whole process: a borrower of
 * any handle delays what every handle retires, and also fork and close.
 *
 * A thread's first read (or acquire, or release) registers it with liburcu, which ends the
 * process by abort() if it has no memory for that: where that matters, read once early. In a
 * program that loads the library late, by dlopen(), the first read may also allocate: there, a
 * thread whose signal handlers read must have read once before, outside of them.
 * Returns: a snapshot, never NULL (ss must not be NULL); before the first load it is
 *   generation 0, empty.
 * Threads: any; unlock on the same one.  Signals: safe, see above for the first read.
 * Callbacks: allowed.  Fork: safe, see safestart_after_fork().  Since: 1.0
 */
const struct safestart_snapshot *safestart_read_lock(struct safestart *ss);

/**
 * End a borrow that safestart_read_lock() began on this thread.
 * Threads: the borrower's.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
void safestart_read_unlock(struct safestart *ss);

/**
 * Own the live snapshot: for a request that outlives the call, a coroutine, or a language
 * with a garbage collector. It stays valid until safestart_snapshot_release(), on any
 * thread, and after close too.
 * Returns: a snapshot, never NULL (ss must not be NULL).
 * Threads: any.  Signals: as safestart_read_lock().  Callbacks: allowed.  Fork: the child has a
 * count of its own; its status shows what it acquires itself, not what was acquired before the
 * fork.  Since: 1.0
 */
struct safestart_snapshot *safestart_snapshot_acquire(struct safestart *ss);

/**
 * Give an owned snapshot back, once per acquire. While the handle is open this calls no
 * callback. After close, the last owner's release calls `retire` and `retire_node`, and is
 * then not signal-safe. NULL is allowed.
 * Threads: any.  Signals: as safestart_read_lock(), while the handle is open.  Callbacks:
 * allowed.  Fork: safe.  Since: 1.0
 */
void safestart_snapshot_release(struct safestart_snapshot *snapshot);

/**
 * The number of the live generation, at the cost of one load. With it a binding can keep
 * its own copy of the nodes until the number changes. A read that follows finds this
 * generation or a later one.
 * Returns: the generation; 0 before the first load and when ss is NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
uint64_t safestart_generation(const struct safestart *ss);

/**
 * Where that number is, for a binding that looks without a call: one atomic load (acquire) of 8
 * bytes, aligned to 8. Never written by you. The address is the same until close, and in a forked
 * child.
 * Returns: the address; NULL when ss is NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
const uint64_t *safestart_generation_address(const struct safestart *ss);

/* The getters below take a snapshot or a node that is borrowed, owned or part of a run; none
 * may be NULL. What they return is valid as long as the snapshot or node.
 * Threads: any.  Signals: safe (safestart_snapshot_json: no).  Callbacks: allowed.  Fork: safe;
 * data is NULL in a child.  Since: 1.0 */

/** Returns: the snapshot's generation; a run's candidate has the number it gets once live. */
uint64_t safestart_snapshot_generation(const struct safestart_snapshot *snapshot);
/** Returns: the number of nodes in it. */
size_t safestart_snapshot_size(const struct safestart_snapshot *snapshot);
/** Returns: the node at index, in the order of ids (byte by byte); NULL past the end. */
const struct safestart_node *safestart_snapshot_at(const struct safestart_snapshot *snapshot,
						   size_t index);
/** Returns: the node with that id; NULL when there is none. */
const struct safestart_node *safestart_snapshot_find(const struct safestart_snapshot *snapshot,
						     const char *id);
/** Returns: what safestart_run_set_data() attached; NULL: nothing, or inherited by a fork. */
void *safestart_snapshot_data(const struct safestart_snapshot *snapshot);
/** Returns: what safestart_run_set_key() attached, else the value of that pointer; 0: none. */
uint64_t safestart_snapshot_key(const struct safestart_snapshot *snapshot);
/** Returns: the nodes as a file_sd document, one group for each node, for bindings; freed with
 * safestart_free(); NULL when out of memory. */
char *safestart_snapshot_json(const struct safestart_snapshot *snapshot);

/** Returns: the node's id. */
const char *safestart_node_id(const struct safestart_node *node);
/** Returns: the host name or address, an IPv6 address without its brackets. */
const char *safestart_node_host(const struct safestart_node *node);
/** Returns: the port, in host byte order. */
uint16_t safestart_node_port(const struct safestart_node *node);
/** Returns: the value of a label; NULL: no such label. "id" is the node's id. */
const char *safestart_node_label(const struct safestart_node *node, const char *name);
/** Returns: the value of the label at index, in the order of names, with its name in *name (may
 * be NULL); NULL past the end. `id` is not among them. */
const char *safestart_node_label_at(const struct safestart_node *node, size_t index,
				    const char **name);
/** Returns: what safestart_run_set_node_data() attached; NULL: nothing, or inherited by a fork. */
void *safestart_node_data(const struct safestart_node *node);
/** Returns: what safestart_run_set_node_key() attached, else the value of that pointer; 0: none. */
uint64_t safestart_node_key(const struct safestart_node *node);

/* ---- Inside a run ------------------------------------------------------ */

/* A run is valid while its `prepare` or `restart` is in progress, and after SAFESTART_LATER until
 * safestart_run_finish() or safestart_run_fail() is called. Its snapshots and their nodes are valid
 * as long as the run. */

/**
 * The run's number, as in its outcome and in the log.
 * Returns: the number; runs count from 1.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
uint64_t safestart_run_number(const struct safestart_run *run);

/**
 * The set before this run.
 * Returns: the snapshot that was live when the run began.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
const struct safestart_snapshot *safestart_run_current(const struct safestart_run *run);

/**
 * The set that this run applies.
 * Returns: the snapshot that will be live; in `restart` the one that is live. Rejected nodes
 *   stay in it until commit.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
const struct safestart_snapshot *safestart_run_candidate(const struct safestart_run *run);

/**
 * One difference between the two, by index from 0, in the order of ids; *kind gets an enum
 * safestart_change.
 * Returns: the candidate's node for added and changed, the live one for removed; NULL past
 *   the end.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
const struct safestart_node *safestart_run_change(const struct safestart_run *run, size_t index,
						  int *kind);

/**
 * Leave one added or changed node out of this set; the others are applied. A changed node
 * keeps its old entry. The node is quarantined with `reason` (may be NULL) and retried, with
 * backoff. Only in `prepare`, and before finish.
 * Returns: 0; -ENOENT when the candidate has no such node; -EINVAL for a node that did not
 *   change, or when not in prepare; -ENOMEM.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_reject(struct safestart_run *run, const char *id, const char *reason);

/**
 * Attach data to a node of the candidate. From here the node owns it: it is retired with the
 * last generation that has the node, or soon after the run if the run fails or the node is
 * rejected. A node that does not change in later generations inherits it. To keep the data
 * of the live node with this id, pass its pointer (it is still retired once). A second call
 * replaces the first. Only in `prepare`, and before finish. Threads may do this for different
 * nodes at the same time, and look at the candidate meanwhile; what two of them do with one
 * node, safestart_node_data() of it included, they have to order themselves.
 * Returns: 0; -ENOENT when it is not a node of the candidate; -EINVAL when not in prepare;
 *   -ENOMEM. On error the data is still yours.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_set_node_data(struct safestart_run *run, const struct safestart_node *node,
				void *data);

/**
 * Attach data to the generation; without this call the generation's data is NULL. The
 * pointer of the live generation may be passed on; any other pointer is owned and retired as
 * above. Only in `prepare`, and before finish.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
void safestart_run_set_data(struct safestart_run *run, void *data);

/**
 * Set a number, such as an exit code, as the `status` of the run's outcome. With lock_share
 * the other processes that this run answers get it too. The last call counts, and only what
 * `restart` set before it ended in time.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
void safestart_run_set_status(struct safestart_run *run, int status);

/**
 * Is it pointless to go on?
 * Returns: 1 when the deadline has passed or the handle was shut down, else 0.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_cancelled(const struct safestart_run *run);

/**
 * Finish a callback that returned SAFESTART_LATER, with 0 or -errno (a positive value is a
 * mistake and taken as -EINVAL). Call it exactly once for each LATER, also when the run was
 * cancelled: the run's memory is kept until then. The run must not be used after it. It may
 * be called before the callback has returned; then the callback must return SAFESTART_LATER
 * before the deadline as well, and counts when it does. (If it returns anything else, that
 * counts.)
 * Returns: 0; -ESTALE: too late, the result is ignored, and the data attached to the run will
 *   be retired; -EALREADY: the callback is still inside, and the run was finished before: the
 *   first one counts. After the callback has returned, a second finish uses freed memory.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_finish(struct safestart_run *run, int error);

/**
 * As safestart_run_finish() with an error, and with words: they stand in the outcome and in the
 * log where otherwise the text of `error` would, cut to 255 bytes. `error`: -errno; anything else
 * is taken as -EINVAL. NULL as `message`: as safestart_run_finish().
 * Returns: as safestart_run_finish().
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_fail(struct safestart_run *run, int error, const char *message);

/**
 * As safestart_run_set_node_data(), with a number instead of a pointer, for programs that cannot
 * hand out pointers, and with the node's id. 0 is none. A node has either: its key is the number,
 * or the value of its pointer. With events=callback `retire_node` gets it as a pointer, so that it
 * has to fit into one.
 * Returns: as safestart_run_set_node_data(); -EINVAL also for a NULL id, and a key that does not
 *   fit.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_set_node_key(struct safestart_run *run, const char *id, uint64_t key);

/**
 * As safestart_run_set_data(), with a number, as above.
 * Returns: 0; -EINVAL when not in prepare, and for a key that does not fit; -ENOMEM: then the run
 *   fails, and the key is retired with it.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_set_key(struct safestart_run *run, uint64_t key);

/**
 * All differences at once, in the order of ids, for bindings:
 * [{"change":"added","id":"a","host":"10.0.0.1","port":8087,"labels":{"zone":"a"}}]. The change is
 * "added", "removed" or "changed"; the entry is the candidate's, of a removed node the live one.
 * A changed node has its live entry too: "was":{"host":…,"port":…,"labels":…}.
 * Returns: a string, freed with safestart_free(); NULL when out of memory or run is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
char *safestart_run_changes_json(const struct safestart_run *run);

/* ---- Events that the application takes (events=pull) -------------------- */

/* For runtimes that no thread of a library may call, and for event loops. With events=pull none of
 * the callbacks is ever called (open refuses callbacks that could be): what each would be told is
 * an event, and every PREPARE and RESTART is a run that you finish, as after SAFESTART_LATER: with
 * safestart_run_finish() or safestart_run_fail(), on any thread, within run_timeout.
 *
 * What you do not take costs no memory without end: 16 outcomes and 256 log lines wait at most (the
 * newest outcome has `merged`, a line says how many are missing); a PREPARE or RESTART that was not
 * taken before its deadline or a shutdown is withdrawn, and the run finished for you; the others
 * number as many as there are runs to finish and keys to retire.
 *
 * safestart_close() finishes for you what is not finished, so that a program that is going down can
 * always close. Once it was called, no run of an event may be used any more. It throws away the
 * events that wait; the keys that were not retired by then are yours to give back. What takes
 * events on another thread has to have stopped. */

/**
 * The descriptor to poll for reading (level-triggered): it is readable while an event waits, and
 * from the moment when safestart_next_event() gives -ECANCELED. It is one end of a stream socket,
 * so that event loops for sockets take it; do not read, write or close it. In a forked child its
 * number stays the same, see safestart_fd().
 * Returns: a descriptor, owned by the handle, valid until close; -EINVAL when ss is NULL, or with
 *   events=callback.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the child has its own under this
 * number.  Since: 1.0
 */
int safestart_event_fd(struct safestart *ss);

/**
 * Take the oldest event that waits. `event` gets what happened; set its `size` first. A run that
 * you finish gets no CANCELLED any more. The events of one run come in the order PREPARE,
 * COMMITTED, RESTART, OUTCOME. Tickets that no run covers, for the handle was shut down, are
 * answered without an OUTCOME: look at them once more after -ECANCELED.
 *
 * Returns: 1: there was one; 0: none; -ECANCELED: none, the handle was shut down, every run that
 * you took is finished, and nothing but LOG, RETIRE and RETIRE_NODE will come: close it; -EINVAL:
 * NULL, event->size too small, or events=callback; -ENOMEM, -EMFILE, -ENFILE or -EAGAIN when a
 * child cannot be revived. Threads: any; see `text`.  Signals: no.  Callbacks: allowed.  Fork:
 * revives; the child gets none of the events of before.  Since: 1.0
 */
int safestart_next_event(struct safestart *ss, struct safestart_event *event);

/* ---- Driven by the application's event loop (thread=no) ---------------- */

/**
 * The descriptor to poll for reading (level-triggered): when it is readable, call
 * safestart_dispatch(). Do not read, close or change it. In a forked child its number stays
 * the same, but an epoll set from before the fork still watches the parent's descriptor: add
 * this one to an epoll set that the child made.
 * Returns: a descriptor, owned by the handle, valid until close; -EINVAL when ss is NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the child has its own under this
 * number.  Since: 1.0
 */
int safestart_fd(struct safestart *ss);

/**
 * Do what is due, callbacks included; wait at most timeout_ms for something to become due.
 * After a few runs it returns even if more is due; the descriptor then stays readable.
 * Returns: 0; -EBUSY when another thread is in it (with thread=yes a thread of the library
 *   always is); -EDEADLK in a callback; -ECANCELED when the handle was shut down and nothing
 *   is left to do; -EAGAIN before the start (start=after_fork); -EINVAL when ss is NULL.
 * Threads: any, one at a time.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives.  Since: 1.0
 */
int safestart_dispatch(struct safestart *ss, int timeout_ms);

/* ---- Status and metrics ------------------------------------------------ */

/**
 * The state of the handle as one JSON object: generation, nodes with their states, the run
 * in progress, the last outcome, counters. Never waits for a callback. "digest" is that of the
 * live set, "desired_digest" that of the desired set: equal sets (nodes, addresses, labels)
 * have equal digests, in every process and on every host. A digest is 16 hexadecimal digits,
 * or null before any set was desired. Of each node, "entry_digest" is that of the live entry and
 * "desired_entry_digest" that of the announced one, each as of a set with this entry alone; null:
 * there is none.
 * Returns: a string, freed with safestart_free(); NULL when out of memory or ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
char *safestart_status_json(struct safestart *ss);

/**
 * The same as figures in the Prometheus exposition format, each with the label name="...".
 * Returns: a string, freed with safestart_free(); NULL when out of memory or ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
char *safestart_metrics_text(struct safestart *ss);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
