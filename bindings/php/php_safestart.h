/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* php_safestart: what the parts of the extension share. One thread of PHP runs all of it. */
#ifndef PHP_SAFESTART_H
#define PHP_SAFESTART_H

#include <php.h>
#include <safestart/safestart.h>
#include <stdbool.h>

#define PHP_SAFESTART_VERSION "1.0.0"

extern zend_module_entry safestart_module_entry;
extern zend_class_entry *exception_class, *handle_class, *run_class, *node_class, *change_class,
	*outcome_class, *state_class, *verdict_enum, *state_enum;

/* A run's PHP object. */
struct run {
	struct safestart_run *run; /* NULL: it is over */
	struct held *held;
	bool later;       /* the closure asked for it: it is not finished when it returns */
	struct run *next; /* in held->runs */
	zend_object std;
};

struct node {
	uint64_t key; /* of the object or string that is its data; 0: none, or set by the
			 application */
	zend_object std;
};

/* A handle that this process holds over requests. What is below the line lives as long as a
 * request: no PHP value outlives it. */
struct held {
	struct held *next;
	char *settings; /* by which open() finds it again */
	struct safestart *ss;
	const uint64_t *live; /* the number of the live generation */
	bool pulls;           /* there may be closures, so that events are taken */
	uint64_t newest_key;
	HashTable strings; /* persistent data, by key */
	/* ---- */
	HashTable objects; /* data, by key */
	zval nodes;        /* id => Node, of `generation`; undefined: not made yet */
	uint64_t generation;
	zval prepare, restart, log; /* undefined: none */
	struct run *runs;           /* not over */
	unsigned inside;            /* closures that are being called */
};

struct handle {
	struct held *held; /* NULL: closed */
	zend_object std;
};

#define CONTAINER(type, object) ((struct type *)((char *)(object)-XtOffsetOf(struct type, std)))

/* Throws Safestart\Exception with the library's words; `why` may be NULL or "". */
void throw_error(int error, const char *why);
/* The handle, made this process's own if it was forked. NULL: an exception was thrown. */
struct held *held_of(zend_object *handle);
void begin_request(struct held *held);
void end_request(struct held *held);
void held_close_objects(struct held *held);

/* Calls what waits to be told to closures, and gives back what is retired. */
void take_events(struct held *held);
/* Waits at most that long for the next event. False: an exception ends the wait. */
bool wait_for_events(struct held *held, int64_t timeout_ms);
void leave_closure(struct held *held);

/* Data is a string, which lasts, or an object, which lives as long as the request. */
uint64_t keep_data(struct held *held, zval *data);
void drop_data(struct held *held, uint64_t key, bool close);
void copy_data(struct held *held, uint64_t key, zval *to);

/* Makes the nodes of the live generation, unless they are there. */
void refresh_nodes(struct held *held);
void node_into(zend_object *object, const struct safestart_node *node);
void set_string(zend_object *object, const char *name, const char *value);
void set_long(zend_object *object, const char *name, zend_long value);

void call_with_run(struct held *held, struct safestart_run *run, zval *closure);
void forget_runs(struct held *held, bool fail);

void init_handle(void);
void init_run(void);
void init_nodes(void);

#endif
