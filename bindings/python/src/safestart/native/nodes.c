/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes: an owned snapshot, its nodes, and the cached look at the live set. A node keeps its
 * snapshot, so what is retired waits until Python has dropped the last node of it. All three may be
 * part of a circle through the application's own objects, so the garbage collector is shown what
 * they hold. */
#include "module.h"

PyTypeObject *snapshot_type, *node_type, *watch_type;

struct snapshot {
	PyObject_HEAD struct safestart_snapshot *snapshot; /* never NULL */
	PyObject *objects; /* a dict: the data of nodes and generations, by their keys */
};

struct node {
	PyObject_HEAD struct snapshot *owner;
	const struct safestart_node *node; /* valid as long as owner is there */
	PyObject *labels;                  /* made when first asked for */
};

struct watch {
	PyObject_HEAD const uint64_t
		*generation; /* the library's; NULL: closed. Valid as long as core is open */
	uint64_t seen;       /* the generation of `view` */
	PyObject *view;      /* NULL: none yet */
};

static PyObject *alloc(PyTypeObject *type)
{
	allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);

	return allocate(type, 0);
}

/* Borrowed; None where there is none: a child finds no keys in what it has inherited. */
static PyObject *object_of(const struct snapshot *owner, uint64_t key)
{
	PyObject *object = NULL;

	if (key != 0) {
		PyObject *number = PyLong_FromUnsignedLongLong(key);
		if (number == NULL)
			return NULL;
		object = PyDict_GetItemWithError(owner->objects, number);
		Py_DECREF(number);
		if (object == NULL && PyErr_Occurred())
			return NULL;
	}
	object = object != NULL ? object : Py_None;
	Py_INCREF(object);
	return object;
}

/* ---- A snapshot ---- */

PyObject *snapshot_new(struct core *core, PyObject *objects)
{
	if (!PyDict_Check(objects)) {
		PyErr_SetString(PyExc_TypeError, "objects has to be a dict");
		return NULL;
	}
	struct snapshot *made = (struct snapshot *)alloc(snapshot_type);
	if (made == NULL)
		return NULL;
	made->snapshot = safestart_snapshot_acquire(core->ss);
	Py_INCREF(objects);
	made->objects = objects;
	return (PyObject *)made;
}

static int snapshot_traverse(struct snapshot *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->objects);
	return 0;
}

/* No tp_clear: a snapshot has to have its objects to the end. Each circle through it goes through a
 * node or a dict as well, which are cleared. */
static void snapshot_dealloc(struct snapshot *self)
{
	PyObject_GC_UnTrack(self);
	safestart_snapshot_release(self->snapshot);
	Py_XDECREF(self->objects);
	type_free((PyObject *)self);
}

static PyObject *snapshot_generation(struct snapshot *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(safestart_snapshot_generation(self->snapshot));
}

static PyObject *snapshot_data(struct snapshot *self, void *unused)
{
	(void)unused;
	return object_of(self, safestart_snapshot_key(self->snapshot));
}

static PyObject *node_new(struct snapshot *owner, const struct safestart_node *node)
{
	struct node *made = (struct node *)alloc(node_type);

	if (made == NULL)
		return NULL;
	Py_INCREF(owner);
	made->owner = owner;
	made->node = node;
	return (PyObject *)made;
}

static PyObject *snapshot_nodes(struct snapshot *self, PyObject *unused)
{
	Py_ssize_t size = (Py_ssize_t)safestart_snapshot_size(self->snapshot);
	PyObject *nodes = PyList_New(size);

	(void)unused;
	for (Py_ssize_t i = 0; nodes != NULL && i < size; i++) {
		PyObject *node = node_new(self, safestart_snapshot_at(self->snapshot, (size_t)i));
		if (node == NULL)
			Py_CLEAR(nodes);
		else
			PyList_SetItem(nodes, i, node);
	}
	return nodes;
}

/* ---- A node ---- */

static int node_traverse(struct node *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->owner);
	return 0;
}

static void node_dealloc(struct node *self)
{
	PyObject_GC_UnTrack(self);
	Py_XDECREF(self->labels);
	Py_XDECREF(self->owner);
	type_free((PyObject *)self);
}

static PyObject *node_id(struct node *self, void *unused)
{
	(void)unused;
	return text_new(safestart_node_id(self->node));
}

static PyObject *node_host(struct node *self, void *unused)
{
	(void)unused;
	return text_new(safestart_node_host(self->node));
}

static PyObject *node_port(struct node *self, void *unused)
{
	(void)unused;
	return PyLong_FromLong(safestart_node_port(self->node));
}

static PyObject *labels_new(const struct safestart_node *node)
{
	PyObject *labels = PyDict_New();
	const char *name, *value;

	for (size_t i = 0; labels != NULL && (value = safestart_node_label_at(node, i, &name));
	     i++) {
		PyObject *key = text_new(name), *text = text_new(value);
		if (key == NULL || text == NULL || PyDict_SetItem(labels, key, text) < 0)
			Py_CLEAR(labels);
		Py_XDECREF(key);
		Py_XDECREF(text);
	}
	return labels;
}

/* Read-only, for every look at this generation gets the same one. */
static PyObject *node_labels(struct node *self, void *unused)
{
	(void)unused;
	if (self->labels == NULL) {
		PyObject *labels = labels_new(self->node);
		self->labels = labels != NULL ? PyDictProxy_New(labels) : NULL;
		Py_XDECREF(labels);
	}
	Py_XINCREF(self->labels);
	return self->labels;
}

static PyObject *node_data(struct node *self, void *unused)
{
	(void)unused;
	return object_of(self->owner, safestart_node_key(self->node));
}

/* None worked; an errno or an exception failed. */
static int report_code(PyObject *result)
{
	if (result == Py_None)
		return 0;
	if (PyLong_Check(result))
		return (int)PyLong_AsLong(result);
	PyObject *number = PyObject_GetAttrString(result, "errno");
	int code = number != NULL && PyLong_Check(number) ? (int)PyLong_AsLong(number) : 0;
	Py_XDECREF(number);
	PyErr_Clear();
	return code != 0 ? code : 1;
}

static PyObject *node_report(struct node *self, PyObject *args)
{
	PyObject *result = Py_None;

	if (!PyArg_ParseTuple(args, "|O", &result))
		return NULL;
	int code = report_code(result);
	if (PyErr_Occurred())
		return NULL;
	safestart_node_report(self->node, code);
	Py_RETURN_NONE;
}

static PyObject *node_repr(struct node *self)
{
	return PyUnicode_FromFormat("<Node %s at %s:%d>", safestart_node_id(self->node),
				    safestart_node_host(self->node),
				    (int)safestart_node_port(self->node));
}

/* ---- The cached look: what an application does for every request ---- */

static PyObject *nodes_name; /* "nodes", interned */

static PyObject *watch_nodes(struct watch *self, void *unused)
{
	(void)unused;
	if (self->view != NULL && self->generation != NULL &&
	    __atomic_load_n(self->generation, __ATOMIC_ACQUIRE) == self->seen) {
		Py_INCREF(self->view);
		return self->view;
	}
	return PyObject_CallMethod((PyObject *)self, "_look", NULL);
}

/* Instead of a search through the classes, which costs several times as much as the look. A name
 * that is not the interned one finds the getter below. */
static PyObject *watch_getattro(PyObject *self, PyObject *name)
{
	if (name == nodes_name)
		return watch_nodes((struct watch *)self, NULL);
	return PyObject_GenericGetAttr(self, name);
}

/* What _look() has made. The thread that looked later may have been faster, with a newer one. */
static PyObject *watch_show(struct watch *self, PyObject *args)
{
	unsigned long long generation;
	PyObject *view;

	if (!PyArg_ParseTuple(args, "OK", &view, &generation))
		return NULL;
	Py_INCREF(view);
	if (self->view == NULL || generation >= self->seen) {
		PyObject *old = self->view;
		Py_INCREF(view);
		self->view = view;
		self->seen = generation;
		Py_XDECREF(old); /* may call the application: last */
	}
	return view;
}

/* The old nodes are given back without waiting for the next look. `always`: current ones too. */
static PyObject *watch_forget(struct watch *self, PyObject *args)
{
	int always;

	if (!PyArg_ParseTuple(args, "p", &always))
		return NULL;
	if (always || self->generation == NULL ||
	    __atomic_load_n(self->generation, __ATOMIC_ACQUIRE) != self->seen)
		Py_CLEAR(self->view);
	Py_RETURN_NONE;
}

/* Of which handle the generation is looked at. None: none, it is about to be closed. */
static PyObject *watch_watch(struct watch *self, PyObject *core)
{
	self->generation = NULL;
	if (core == Py_None)
		Py_RETURN_NONE;
	if (!PyObject_TypeCheck(core, core_type)) {
		PyErr_SetString(PyExc_TypeError, "core has to be a Core");
		return NULL;
	}
	struct safestart *ss = core_handle((struct core *)core);
	if (ss == NULL)
		return NULL;
	self->generation = safestart_generation_address(ss);
	Py_RETURN_NONE;
}

static int watch_traverse(struct watch *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->view);
	return 0;
}

static int watch_clear(struct watch *self)
{
	Py_CLEAR(self->view);
	return 0;
}

static void watch_dealloc(struct watch *self)
{
	PyObject_GC_UnTrack(self);
	watch_clear(self);
	type_free((PyObject *)self);
}

/* ---- The types ---- */

static PyMethodDef snapshot_methods[] = {METHOD("nodes", snapshot_nodes, METH_NOARGS),
					 {NULL, NULL, 0, NULL}};
static PyGetSetDef snapshot_members[] = {MEMBER("generation", snapshot_generation),
					 MEMBER("data", snapshot_data),
					 {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef node_methods[] = {{"report", (PyCFunction)(void (*)(void))node_report,
				      METH_VARARGS,
				      "How a real request to the node went. None: it worked; an "
				      "errno or an exception: it failed."},
				     {NULL, NULL, 0, NULL}};
static PyGetSetDef node_members[] = {MEMBER("id", node_id),     MEMBER("host", node_host),
				     MEMBER("port", node_port), MEMBER("labels", node_labels),
				     MEMBER("data", node_data), {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef watch_methods[] = {METHOD("_show", watch_show, METH_VARARGS),
				      METHOD("_forget", watch_forget, METH_VARARGS),
				      METHOD("_watch", watch_watch, METH_O),
				      {NULL, NULL, 0, NULL}};
static PyGetSetDef watch_members[] = {MEMBER("nodes", watch_nodes), {NULL, NULL, NULL, NULL, NULL}};

static int add_snapshot(PyObject *module)
{
	PyType_Slot slots[] = {{Py_tp_new, type_no_new},
			       {Py_tp_dealloc, snapshot_dealloc},
			       {Py_tp_traverse, snapshot_traverse},
			       {Py_tp_methods, snapshot_methods},
			       {Py_tp_getset, snapshot_members},
			       {0, NULL}};
	PyType_Spec spec = {.name = "safestart._native.Snapshot",
			    .basicsize = sizeof(struct snapshot),
			    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
			    .slots = slots};

	return type_add(module, "Snapshot", &spec, &snapshot_type);
}

static int add_node(PyObject *module)
{
	PyType_Slot slots[] = {{Py_tp_new, type_no_new},
			       {Py_tp_dealloc, node_dealloc},
			       {Py_tp_traverse, node_traverse},
			       {Py_tp_repr, node_repr},
			       {Py_tp_methods, node_methods},
			       {Py_tp_getset, node_members},
			       {0, NULL}};
	PyType_Spec spec = {.name = "safestart.Node",
			    .basicsize = sizeof(struct node),
			    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
			    .slots = slots};

	return type_add(module, "Node", &spec, &node_type);
}

static int add_watch(PyObject *module)
{
	PyType_Slot slots[] = {{Py_tp_dealloc, watch_dealloc},
			       {Py_tp_traverse, watch_traverse},
			       {Py_tp_clear, watch_clear},
			       {Py_tp_getattro, watch_getattro},
			       {Py_tp_methods, watch_methods},
			       {Py_tp_getset, watch_members},
			       {0, NULL}};
	PyType_Spec spec = {.name = "safestart._native.Watch",
			    .basicsize = sizeof(struct watch),
			    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
			    .slots = slots};

	return type_add(module, "Watch", &spec, &watch_type);
}

int nodes_add_types(PyObject *module)
{
	nodes_name = PyUnicode_InternFromString("nodes");
	if (nodes_name == NULL)
		return -1;
	return add_snapshot(module) < 0 || add_node(module) < 0 || add_watch(module) < 0 ? -1 : 0;
}
