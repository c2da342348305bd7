/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safestart: handles, settings, requests and events. */
#include <errno.h>
#include <ruby/thread.h>
#include <time.h>

#include "ext.h"

#define NO_VIEW (UINT64_MAX - 1)

VALUE error_class, closed_class;
static VALUE core_class;

/* The live generation's number once closed: never that of a view. */
static const uint64_t closed = UINT64_MAX;

/* ---- The struct that Handle and Core share ---- */

static void core_mark(void *data)
{
	struct core *core = data;

	rb_gc_mark(core->view);
	rb_gc_mark(core->hold);
}

/* Close waits for nothing of Ruby's with events=pull, but gives up after run_timeout, which may be
 * short for a busy machine. */
static int close_patiently(struct safestart *ss)
{
	time_t limit = time(NULL) + 5;
	int result;

	do
		result = safestart_close(ss);
	while (result == -ETIMEDOUT && time(NULL) < limit);
	return result;
}

static void let_go(struct core *core)
{
	if (--core->owners > 0)
		return;
	close_patiently(core->ss);
	xfree(core);
}

static void core_free(void *data)
{
	let_go(data);
}

static const rb_data_type_t core_type = {
	.wrap_struct_name = "Safestart::Core",
	.function = {.dmark = core_mark, .dfree = core_free},
	.flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

struct handle {
	struct core *core;
	VALUE ruby_core;
};

static void handle_mark(void *data)
{
	struct handle *handle = data;

	rb_gc_mark(handle->ruby_core);
	if (handle->core != NULL)
		core_mark(handle->core);
}

static void handle_free(void *data)
{
	struct handle *handle = data;

	if (handle->core != NULL) {
		/* Dropped without close: its thread is told, and ends. */
		safestart_shutdown(handle->core->ss);
		let_go(handle->core);
	}
	xfree(handle);
}

static const rb_data_type_t handle_type = {
	.wrap_struct_name = "Safestart::Handle",
	.function = {.dmark = handle_mark, .dfree = handle_free},
	.flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static VALUE handle_alloc(VALUE class)
{
	struct handle *handle;
	VALUE self = TypedData_Make_Struct(class, struct handle, &handle_type, handle);

	handle->ruby_core = Qnil;
	return self;
}

/* Handle#initialize_core(core) */
static VALUE handle_set_core(VALUE self, VALUE ruby_core)
{
	struct handle *handle = rb_check_typeddata(self, &handle_type);

	handle->core = open_core(ruby_core);
	handle->core->owners++;
	handle->ruby_core = ruby_core;
	return self;
}

VALUE core_of(VALUE self)
{
	struct handle *handle = rb_check_typeddata(self, &handle_type);

	if (handle->core == NULL)
		rb_raise(closed_class, "the handle was not opened; see Safestart.open");
	return handle->ruby_core;
}

/* Handle#nodes: the hot path. One load while the generation is the same. */
static VALUE handle_nodes(VALUE self)
{
	struct handle *handle = rb_check_typeddata(self, &handle_type);
	struct core *core = handle->core;

	if (core != NULL && __atomic_load_n(core->live, __ATOMIC_ACQUIRE) == core->generation)
		return core->view;
	return rb_funcall(core_of(self), rb_intern("refresh"), 0);
}

struct core *open_core(VALUE self)
{
	struct core *core = rb_check_typeddata(self, &core_type);

	if (core->ss == NULL)
		rb_raise(closed_class, "the handle is closed");
	return core;
}

/* ---- Opening and closing ---- */

static int set_setting(VALUE key, VALUE value, VALUE argument)
{
	char why[512] = "";
	VALUE name = rb_String(key), text = rb_String(value);

	checked(safestart_conf_set((struct safestart_conf *)argument, utf8(&name), utf8(&text), why,
				   sizeof(why)),
		why);
	return ST_CONTINUE;
}

static VALUE set_settings(VALUE arguments)
{
	VALUE *pair = (VALUE *)arguments;

	rb_hash_foreach(pair[0], set_setting, pair[1]);
	checked(safestart_conf_set((struct safestart_conf *)pair[1], "events", "pull", NULL, 0),
		NULL);
	return Qnil;
}

/* Core.open(settings) */
static VALUE core_open(VALUE class, VALUE settings)
{
	struct safestart_conf *conf = safestart_conf_new();
	VALUE pair[2] = {settings, (VALUE)conf};
	struct core *core;
	char why[512] = "";
	int state = 0;

	if (conf == NULL)
		raise_error(-ENOMEM, NULL);
	VALUE self = TypedData_Make_Struct(class, struct core, &core_type, core);
	core->owners = 1;
	core->live = &closed;
	core->generation = NO_VIEW;
	core->view = core->hold = Qnil;
	rb_protect(set_settings, (VALUE)pair, &state);
	int error = state == 0 ? safestart_open(&core->ss, conf, why, sizeof(why)) : 0;
	safestart_conf_free(conf);
	if (state != 0)
		rb_jump_tag(state);
	checked(error, why);
	core->live = safestart_generation_address(core->ss);
	return self;
}

static void forget_view(struct core *core)
{
	if (!NIL_P(core->hold))
		hold_replace(core->hold);
	core->view = core->hold = Qnil;
	core->generation = NO_VIEW;
}

struct closing {
	struct safestart *ss;
	int result;
};

static void *close_without_gvl(void *data)
{
	struct closing *closing = data;

	closing->result = close_patiently(closing->ss);
	return NULL;
}

/* Core#close_handle: nobody may take events any more, and no run may be used. */
static VALUE core_close(VALUE self)
{
	struct core *core = open_core(self);
	struct closing closing = {.ss = core->ss};

	/* From here on every other thread finds it closed. */
	core->ss = NULL;
	core->live = &closed;
	forget_view(core);
	rb_thread_call_without_gvl(close_without_gvl, &closing, NULL, NULL);
	if (closing.result < 0) {
		core->ss = closing.ss;
		core->live = safestart_generation_address(core->ss);
	}
	checked(closing.result, NULL);
	return Qnil;
}

static VALUE core_is_closed(VALUE self)
{
	struct core *core = rb_check_typeddata(self, &core_type);

	return core->ss == NULL ? Qtrue : Qfalse;
}

static VALUE core_shutdown(VALUE self)
{
	checked(safestart_shutdown(open_core(self)->ss), NULL);
	return Qnil;
}

/* ---- Fork ---- */

static VALUE core_after_fork(VALUE self)
{
	checked(safestart_after_fork(open_core(self)->ss), NULL);
	return Qnil;
}

static VALUE core_is_forked(VALUE self)
{
	return safestart_forked(open_core(self)->ss) == 1 ? Qtrue : Qfalse;
}

static VALUE core_after_fork_set(VALUE self, VALUE key, VALUE value)
{
	char why[512] = "";

	key = rb_String(key);
	value = rb_String(value);
	checked(safestart_after_fork_set(open_core(self)->ss, utf8(&key), utf8(&value), why,
					 sizeof(why)),
		why);
	return Qnil;
}

/* Core#forget_view: in a child the objects of the nodes are its parent's. */
static VALUE core_forget_view(VALUE self)
{
	forget_view(open_core(self));
	return Qnil;
}

/* ---- Requests and their outcomes ---- */

static VALUE core_request(VALUE self, VALUE flags, VALUE reason)
{
	const char *words = utf8_or_null(&reason);
	uint64_t ticket = safestart_request(open_core(self)->ss, NUM2UINT(flags), words);

	RB_GC_GUARD(reason);
	if (ticket == 0)
		rb_raise(closed_class, "the handle was shut down");
	return ULL2NUM(ticket);
}

static VALUE outcome_array(const struct safestart_outcome *outcome)
{
	return rb_ary_new_from_args(11, INT2NUM(outcome->verdict), INT2NUM(outcome->error),
				    new_string(outcome->message), ULL2NUM(outcome->run),
				    ULL2NUM(outcome->generation), ULL2NUM(outcome->requests),
				    UINT2NUM(outcome->attempts), UINT2NUM(outcome->quarantined),
				    ULL2NUM(outcome->ticket), INT2NUM(outcome->status),
				    INT2NUM(outcome->pid));
}

/* Core#try_wait(ticket): nil, not answered yet */
static VALUE core_try_wait(VALUE self, VALUE ticket)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_try_wait(open_core(self)->ss, NUM2ULL(ticket), &outcome);

	if (result == -EAGAIN)
		return Qnil;
	checked(result, NULL);
	return outcome_array(&outcome);
}

/* Core#ready: true; nil: not yet */
static VALUE core_ready(VALUE self)
{
	int result = safestart_wait_ready(open_core(self)->ss, 0);

	return result == -ETIMEDOUT ? Qnil : checked(result, NULL) == 0 ? Qtrue : Qnil;
}

static VALUE core_last_outcome(VALUE self)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_last_outcome(open_core(self)->ss, &outcome);

	if (result == -EAGAIN)
		return Qnil;
	checked(result, NULL);
	return outcome_array(&outcome);
}

static VALUE core_replace(VALUE self, VALUE json)
{
	uint64_t ticket = 0;
	char why[512] = "";
	const char *text = utf8(&json);

	checked(safestart_nodes_replace(open_core(self)->ss, text, &ticket, why, sizeof(why)), why);
	RB_GC_GUARD(json);
	return ULL2NUM(ticket);
}

static VALUE core_announce(VALUE self, VALUE id, VALUE address, VALUE incarnation)
{
	uint64_t ticket = 0;
	const char *name = utf8(&id), *at = utf8(&address), *boot = utf8_or_null(&incarnation);

	checked(safestart_node_announce(open_core(self)->ss, name, at, boot, &ticket), NULL);
	RB_GC_GUARD(id);
	RB_GC_GUARD(address);
	RB_GC_GUARD(incarnation);
	return ULL2NUM(ticket);
}

static VALUE core_withdraw(VALUE self, VALUE id)
{
	uint64_t ticket = 0;
	const char *name = utf8(&id);

	checked(safestart_node_withdraw(open_core(self)->ss, name, &ticket), NULL);
	RB_GC_GUARD(id);
	return ULL2NUM(ticket);
}

/* ---- Status ---- */

static VALUE core_state(VALUE self, VALUE id)
{
	char why[512] = "";
	const char *name = utf8(&id);
	int state =
		checked(safestart_node_state(open_core(self)->ss, name, why, sizeof(why)), NULL);

	RB_GC_GUARD(id);
	return rb_ary_new_from_args(2, INT2NUM(state), new_string(why));
}

static VALUE core_status_json(VALUE self)
{
	return take_string(safestart_status_json(open_core(self)->ss));
}

static VALUE core_metrics(VALUE self)
{
	return take_string(safestart_metrics_text(open_core(self)->ss));
}

static VALUE core_generation(VALUE self)
{
	return ULL2NUM(safestart_generation(open_core(self)->ss));
}

/* ---- Events ---- */

static VALUE core_event_fd(VALUE self)
{
	return INT2NUM(checked(safestart_event_fd(open_core(self)->ss), NULL));
}

/* Core#next_event: [kind, run number, Run, key, level, text]; nil: none; false: none, and none will
 * come but for the log and what is retired */
static VALUE core_next_event(VALUE self)
{
	struct safestart_event event = {.size = sizeof(event)};
	int result = safestart_next_event(open_core(self)->ss, &event);

	if (result == -ECANCELED)
		return Qfalse;
	if (checked(result, NULL) == 0)
		return Qnil;
	bool begins =
		event.kind == SAFESTART_EVENT_PREPARE || event.kind == SAFESTART_EVENT_RESTART;
	return rb_ary_new_from_args(6, INT2NUM(event.kind), ULL2NUM(event.run_number),
				    begins ? wrap_run(event.run) : Qnil, ULL2NUM(event.key),
				    INT2NUM(event.level),
				    event.text != NULL ? new_string(event.text) : Qnil);
}

/* ---- The module ---- */

static VALUE library_version(VALUE self)
{
	return new_string(safestart_version());
}

/* Safestart.settings: {key => [default, help]} */
static VALUE settings(VALUE self)
{
	const char *key, *value, *help;
	VALUE all = rb_hash_new();

	for (size_t i = 0; safestart_setting(i, &key, &value, &help) == 0; i++)
		rb_hash_aset(all, new_string(key),
			     rb_ary_new_from_args(2, new_string(value), new_string(help)));
	return all;
}

void Init_safestart(void)
{
	VALUE module = rb_define_module("Safestart");

	error_class = rb_const_get(module, rb_intern("Error"));
	closed_class = rb_const_get(module, rb_intern("Closed"));
	rb_define_singleton_method(module, "library_version", library_version, 0);
	rb_define_singleton_method(module, "settings", settings, 0);

	VALUE handle_class = rb_define_class_under(module, "Handle", rb_cObject);
	rb_define_alloc_func(handle_class, handle_alloc);
	rb_define_private_method(handle_class, "initialize_core", handle_set_core, 1);
	rb_define_private_method(handle_class, "core", core_of, 0);
	rb_define_method(handle_class, "nodes", handle_nodes, 0);

	core_class = rb_define_class_under(module, "Core", rb_cObject);
	rb_undef_alloc_func(core_class);
	rb_define_singleton_method(core_class, "open", core_open, 1);
	rb_define_method(core_class, "close_handle", core_close, 0);
	rb_define_method(core_class, "closed?", core_is_closed, 0);
	rb_define_method(core_class, "shutdown", core_shutdown, 0);
	rb_define_method(core_class, "revive", core_after_fork, 0);
	rb_define_method(core_class, "forked?", core_is_forked, 0);
	rb_define_method(core_class, "after_fork_set", core_after_fork_set, 2);
	rb_define_method(core_class, "forget_view", core_forget_view, 0);
	rb_define_method(core_class, "request", core_request, 2);
	rb_define_method(core_class, "try_wait", core_try_wait, 1);
	rb_define_method(core_class, "ready", core_ready, 0);
	rb_define_method(core_class, "last_outcome", core_last_outcome, 0);
	rb_define_method(core_class, "replace", core_replace, 1);
	rb_define_method(core_class, "announce", core_announce, 3);
	rb_define_method(core_class, "withdraw", core_withdraw, 1);
	rb_define_method(core_class, "state", core_state, 1);
	rb_define_method(core_class, "status_json", core_status_json, 0);
	rb_define_method(core_class, "metrics", core_metrics, 0);
	rb_define_method(core_class, "generation", core_generation, 0);
	rb_define_method(core_class, "event_fd", core_event_fd, 0);
	rb_define_method(core_class, "next_event", core_next_event, 0);
	init_run(module);
	init_nodes(core_class, handle_class);
}
