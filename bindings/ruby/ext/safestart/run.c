/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: a run as `prepare` and `restart` see it, until it is finished. */
#include <errno.h>

#include "ext.h"

static VALUE run_class;

/* NULL: it was finished, or the handle was closed or forked, and the library's memory is gone. */
struct run {
	struct safestart_run *run;
};

static const rb_data_type_t run_type = {
	.wrap_struct_name = "Safestart::Run",
	.function = {.dfree = RUBY_DEFAULT_FREE},
	.flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

VALUE wrap_run(struct safestart_run *run)
{
	struct run *own;
	VALUE self = TypedData_Make_Struct(run_class, struct run, &run_type, own);

	own->run = run;
	return self;
}

static struct safestart_run *open_run(VALUE self)
{
	struct run *own = rb_check_typeddata(self, &run_type);

	if (own->run == NULL)
		raise_error(-ESTALE, "the run is over");
	return own->run;
}

static VALUE run_forget(VALUE self)
{
	struct run *own = rb_check_typeddata(self, &run_type);

	own->run = NULL;
	return Qnil;
}

/* Run#finish(error, message): once */
static VALUE run_finish(VALUE self, VALUE code, VALUE message)
{
	struct run *own = rb_check_typeddata(self, &run_type);
	struct safestart_run *run = own->run;
	int error = NUM2INT(code);
	const char *words = utf8_or_null(&message);

	own->run = NULL;
	if (run != NULL && error == 0)
		safestart_run_finish(run, 0);
	else if (run != NULL)
		safestart_run_fail(run, error, words);
	RB_GC_GUARD(message);
	return Qnil;
}

static VALUE run_number(VALUE self)
{
	return ULL2NUM(safestart_run_number(open_run(self)));
}

static VALUE run_is_cancelled(VALUE self)
{
	struct run *own = rb_check_typeddata(self, &run_type);

	return own->run == NULL || safestart_run_cancelled(own->run) ? Qtrue : Qfalse;
}

static VALUE run_changes_json(VALUE self)
{
	return take_string(safestart_run_changes_json(open_run(self)));
}

static VALUE run_reject(VALUE self, VALUE id, VALUE reason)
{
	const char *name = utf8(&id), *words = utf8_or_null(&reason);
	int result = safestart_run_reject(open_run(self), name, words);

	RB_GC_GUARD(id);
	RB_GC_GUARD(reason);
	if (result < 0)
		raise_error(result, NULL);
	return Qnil;
}

/* Run#set_status(number) */
static VALUE run_set_status(VALUE self, VALUE status)
{
	safestart_run_set_status(open_run(self), NUM2INT(status));
	return status;
}

/* Run#live_key(id): the key of the live node; of the live generation for nil; 0: none */
static VALUE run_live_key(VALUE self, VALUE id)
{
	const struct safestart_snapshot *live = safestart_run_current(open_run(self));

	if (NIL_P(id))
		return ULL2NUM(safestart_snapshot_key(live));
	const struct safestart_node *node = safestart_snapshot_find(live, utf8(&id));
	RB_GC_GUARD(id);
	return ULL2NUM(node != NULL ? safestart_node_key(node) : 0);
}

/* Run#set_key(id, key): of the generation for nil */
static VALUE run_set_key(VALUE self, VALUE id, VALUE number)
{
	struct safestart_run *run = open_run(self);
	uint64_t key = NUM2ULL(number);
	const char *name = utf8_or_null(&id);
	int result = name != NULL ? safestart_run_set_node_key(run, name, key)
				  : safestart_run_set_key(run, key);

	RB_GC_GUARD(id);
	if (result < 0)
		raise_error(result, NULL);
	return Qnil;
}

void init_run(VALUE module)
{
	run_class = rb_define_class_under(module, "Run", rb_cObject);
	rb_undef_alloc_func(run_class);
	rb_define_method(run_class, "number", run_number, 0);
	rb_define_method(run_class, "cancelled?", run_is_cancelled, 0);
	rb_define_method(run_class, "reject", run_reject, 2);
	rb_define_method(run_class, "forget", run_forget, 0);
	rb_define_method(run_class, "finish", run_finish, 2);
	rb_define_method(run_class, "changes_json", run_changes_json, 0);
	rb_define_method(run_class, "status=", run_set_status, 1);
	rb_define_method(run_class, "live_key", run_live_key, 1);
	rb_define_method(run_class, "set_key", run_set_key, 2);
}
