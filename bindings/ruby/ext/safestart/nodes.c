/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes: the live set as Ruby objects, made once for each generation. */
#include <errno.h>

#include "ext.h"

/* ---- What keeps a generation's objects ---- */

static void hold_free(void *data)
{
	struct hold *hold = data;

	safestart_snapshot_release(hold->snapshot);
	xfree(hold);
}

static const rb_data_type_t hold_type = {
	.wrap_struct_name = "Safestart::Hold",
	.function = {.dfree = hold_free},
	.flags = RUBY_TYPED_FREE_IMMEDIATELY,
};

static void give_back_if_unused(struct hold *hold)
{
	if (!hold->replaced || hold->users > 0)
		return;
	safestart_snapshot_release(hold->snapshot);
	hold->snapshot = NULL;
}

void hold_replace(VALUE self)
{
	struct hold *hold = rb_check_typeddata(self, &hold_type);

	hold->replaced = true;
	give_back_if_unused(hold);
}

static VALUE leave(VALUE self)
{
	struct hold *hold = rb_check_typeddata(self, &hold_type);

	hold->users--;
	give_back_if_unused(hold);
	return Qnil;
}

/* Handle#read { |nodes| }: what these nodes have is not retired before the block has left. */
static VALUE handle_read(VALUE self)
{
	rb_need_block();
	rb_funcall(self, rb_intern("nodes"), 0);
	/* No other thread runs between here and the count. */
	struct core *core = open_core(core_of(self));
	struct hold *hold = rb_check_typeddata(core->hold, &hold_type);
	hold->users++;
	return rb_ensure(rb_yield, core->view, leave, core->hold);
}

/* ---- Making them ---- */

static VALUE labels_of(const struct safestart_node *node)
{
	const char *name, *value;
	VALUE labels = rb_hash_new();

	for (size_t i = 0; (value = safestart_node_label_at(node, i, &name)) != NULL; i++)
		rb_hash_aset(labels, new_frozen_string(name), new_frozen_string(value));
	return rb_obj_freeze(labels);
}

static VALUE entry_of(const struct safestart_node *node)
{
	return rb_ary_new_from_args(5, new_frozen_string(safestart_node_id(node)),
				    new_frozen_string(safestart_node_host(node)),
				    UINT2NUM(safestart_node_port(node)), labels_of(node),
				    ULL2NUM(safestart_node_key(node)));
}

/* Core#acquire: [Hold, generation, key, [[id, host, port, labels, key], ...]] */
static VALUE core_acquire(VALUE self)
{
	struct core *core = open_core(self);
	struct hold *hold;
	VALUE ruby_hold = TypedData_Make_Struct(rb_cObject, struct hold, &hold_type, hold);
	const struct safestart_snapshot *snapshot = hold->snapshot =
		safestart_snapshot_acquire(core->ss);
	VALUE entries = rb_ary_new_capa((long)safestart_snapshot_size(snapshot));

	for (size_t i = 0; i < safestart_snapshot_size(snapshot); i++)
		rb_ary_push(entries, entry_of(safestart_snapshot_at(snapshot, i)));
	return rb_ary_new_from_args(4, ruby_hold, ULL2NUM(safestart_snapshot_generation(snapshot)),
				    ULL2NUM(safestart_snapshot_key(snapshot)), entries);
}

/* Core#show(nodes, hold, generation): the Nodes that a look returns from now on, these unless
 * another thread was quicker with newer ones. */
static VALUE core_show(VALUE self, VALUE nodes, VALUE hold, VALUE number)
{
	struct core *core = open_core(self);
	uint64_t generation = NUM2ULL(number);

	if (!NIL_P(core->view) && core->generation >= generation) {
		hold_replace(hold);
		return core->view;
	}
	if (!NIL_P(core->hold))
		hold_replace(core->hold);
	core->view = nodes;
	core->hold = hold;
	core->generation = generation;
	return nodes;
}

/* Core#report(id, generation, code): false: another generation is live */
static VALUE core_report(VALUE self, VALUE id, VALUE generation, VALUE code)
{
	const char *name = utf8(&id);
	uint64_t wanted = NUM2ULL(generation);
	int error = NUM2INT(code);
	struct safestart *ss = open_core(self)->ss;
	const struct safestart_snapshot *live =
		safestart_read_lock(ss); /* nothing of Ruby's in between */
	const struct safestart_node *node = safestart_snapshot_generation(live) == wanted
						    ? safestart_snapshot_find(live, name)
						    : NULL;

	if (node != NULL)
		safestart_node_report(node, error);
	bool same = safestart_snapshot_generation(live) == wanted;
	safestart_read_unlock(ss);
	RB_GC_GUARD(id);
	return same ? Qtrue : Qfalse;
}

void init_nodes(VALUE core_class, VALUE handle_class)
{
	rb_define_method(handle_class, "read", handle_read, 0);
	rb_define_method(core_class, "acquire", core_acquire, 0);
	rb_define_method(core_class, "show", core_show, 3);
	rb_define_method(core_class, "report", core_report, 3);
}
