/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes: the live set as PHP objects, made once for each generation that a request sees. */
#include "php_safestart.h"

static zend_object_handlers node_handlers;

static zend_object *node_create(zend_class_entry *class)
{
	struct node *node = zend_object_alloc(sizeof(*node), class);

	node->key = 0;
	zend_object_std_init(&node->std, class);
	object_properties_init(&node->std, class);
	node->std.handlers = &node_handlers;
	return &node->std;
}

void set_string(zend_object *object, const char *name, const char *value)
{
	zend_update_property_string(object->ce, object, name, strlen(name), value);
}

void set_long(zend_object *object, const char *name, zend_long value)
{
	zend_update_property_long(object->ce, object, name, strlen(name), value);
}

/* Writes id, host, port and labels, which a Node and a Change both have. */
void node_into(zend_object *object, const struct safestart_node *node)
{
	const char *name, *value;
	zval labels;

	set_string(object, "id", safestart_node_id(node));
	set_string(object, "host", safestart_node_host(node));
	set_long(object, "port", safestart_node_port(node));
	array_init(&labels);
	for (size_t i = 0; (value = safestart_node_label_at(node, i, &name)) != NULL; i++)
		add_assoc_string(&labels, name, value);
	zend_update_property(object->ce, object, ZEND_STRL("labels"), &labels);
	zval_ptr_dtor(&labels);
}

static zval *property_of(zend_object *object, const char *name, zval *scratch)
{
	return zend_read_property(object->ce, object, name, strlen(name), true, scratch);
}

static bool is_same_entry(zend_object *a, zend_object *b)
{
	static const char *const names[] = {"host", "port", "labels"};
	zval of_a, of_b;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!zend_is_identical(property_of(a, names[i], &of_a),
				       property_of(b, names[i], &of_b)))
			return false;
	}
	return true;
}

/* An entry that stays the same keeps its Node, and with it what the application has put on it. */
static void add_node(struct held *held, zval *nodes, const struct safestart_node *node)
{
	zend_string *id =
		zend_string_init(safestart_node_id(node), strlen(safestart_node_id(node)), false);
	zval *old = Z_ISUNDEF(held->nodes) ? NULL : zend_symtable_find(Z_ARRVAL(held->nodes), id);
	zval own, data;

	object_init_ex(&own, node_class);
	node_into(Z_OBJ(own), node);
	if (old != NULL && is_same_entry(Z_OBJ_P(old), Z_OBJ(own))) {
		zval_ptr_dtor(&own);
		ZVAL_COPY(&own, old);
	}
	uint64_t key = safestart_node_key(node);
	if (key != CONTAINER(node, Z_OBJ(own))->key) {
		CONTAINER(node, Z_OBJ(own))->key = key;
		copy_data(held, key, &data);
		zend_update_property(node_class, Z_OBJ(own), ZEND_STRL("data"), &data);
		zval_ptr_dtor(&data);
	}
	zend_symtable_update(Z_ARRVAL_P(nodes), id, &own);
	zend_string_release(id);
}

void refresh_nodes(struct held *held)
{
	zval nodes, old;

	if (!Z_ISUNDEF(held->nodes) &&
	    __atomic_load_n(held->live, __ATOMIC_ACQUIRE) == held->generation)
		return;
	struct safestart_snapshot *snapshot = safestart_snapshot_acquire(held->ss);
	array_init(&nodes);
	for (size_t i = 0; i < safestart_snapshot_size(snapshot); i++)
		add_node(held, &nodes, safestart_snapshot_at(snapshot, i));
	held->generation = safestart_snapshot_generation(snapshot);
	safestart_snapshot_release(snapshot);
	ZVAL_COPY_VALUE(&old, &held->nodes);
	ZVAL_COPY_VALUE(&held->nodes, &nodes);
	zval_ptr_dtor(&old); /* may call destructors: last */
}

void init_nodes(void)
{
	node_class->create_object = node_create;
	memcpy(&node_handlers, &std_object_handlers, sizeof(node_handlers));
	node_handlers.offset = XtOffsetOf(struct node, std);
	node_handlers.clone_obj = NULL;
}
