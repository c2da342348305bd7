/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ext: what the parts of the extension share. All of it runs with the GVL held, which is what
 * guards the structs; only safestart_close() is called without it. */
#ifndef SAFESTART_RUBY_EXT_H
#define SAFESTART_RUBY_EXT_H

#include <ruby.h>
#include <ruby/encoding.h>
#include <safestart/safestart.h>
#include <stdbool.h>

/* A handle. Two Ruby objects share it: Handle, which the application holds, and Core, which the
 * thread that takes events holds. So a Handle that is dropped can be collected while that thread
 * waits, and shuts the handle down; the thread ends, and the last of the two closes it. */
struct core {
	struct safestart *ss; /* NULL once closed */
	const uint64_t *live; /* the number of the live generation; once closed, of none */
	uint64_t generation;  /* of view; NO_VIEW: there is none */
	VALUE view;           /* the Nodes that a look returns */
	VALUE hold;           /* what keeps the objects of view from being retired */
	unsigned owners;      /* Ruby objects that have it */
};

/* An owned snapshot. It is given back when a newer generation has taken its place and the last
 * block that reads it has left, or when it is collected. */
struct hold {
	struct safestart_snapshot *snapshot;
	unsigned users; /* blocks that read it */
	bool replaced;
};

extern VALUE error_class, closed_class;

/* The open handle; raises Safestart::Closed. */
struct core *open_core(VALUE core);
/* Raises Safestart::Error with the library's words; `why` may be "" or NULL. */
_Noreturn void raise_error(int error, const char *why);
/* A result that is no error. */
int checked(int result, const char *why);
/* A string as UTF-8 with a NUL at its end, kept alive by *string. */
const char *utf8(VALUE *string);
const char *utf8_or_null(VALUE *string);
VALUE new_string(const char *text);
VALUE new_frozen_string(const char *text);
/* A new string of the library; frees it. */
VALUE take_string(char *text);

void init_run(VALUE module);
void init_nodes(VALUE core_class, VALUE handle_class);
void hold_replace(VALUE hold);
VALUE wrap_run(struct safestart_run *run);
VALUE core_of(VALUE handle);

#endif
