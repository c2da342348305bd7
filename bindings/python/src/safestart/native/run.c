/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: one `prepare` or `restart` that the application was asked for. It is void once it was
 * finished, once the handle was closed, and in a forked child: then it raises instead of using
 * freed memory. */
#include <errno.h>

#include "module.h"

PyTypeObject *run_type;

struct run {
	PyObject_HEAD struct core *core;
	struct safestart_run *run; /* NULL: finished */
	uint64_t number;
	unsigned forks; /* core->forks when it began */
};

PyObject *run_new(struct core *core, struct safestart_run *run, uint64_t number)
{
	allocfunc allocate = (allocfunc)PyType_GetSlot(run_type, Py_tp_alloc);
	struct run *made = (struct run *)allocate(run_type, 0);

	if (made == NULL) {
		safestart_run_finish(run, -ENOMEM); /* nobody else would */
		return NULL;
	}
	Py_INCREF(core);
	*made = (struct run){.ob_base = made->ob_base,
			     .core = core,
			     .run = run,
			     .number = number,
			     .forks = core->forks};
	return (PyObject *)made;
}

static struct safestart_run *valid(const struct run *self)
{
	return self->core->ss != NULL && self->forks == self->core->forks ? self->run : NULL;
}

static struct safestart_run *valid_or_raise(const struct run *self)
{
	struct safestart_run *run = valid(self);

	if (run == NULL)
		raise_error(-ESTALE, "the run is over");
	return run;
}

/* A run that nobody has finished, because its taker was lost, fails. */
static void run_dealloc(struct run *self)
{
	struct safestart_run *run = valid(self);

	if (run != NULL)
		safestart_run_finish(run, -ECANCELED);
	Py_DECREF(self->core);
	type_free((PyObject *)self);
}

static PyObject *none_or_raise(int error)
{
	if (error < 0)
		return raise_error(error, NULL);
	Py_RETURN_NONE;
}

static PyObject *run_changes(struct run *self, PyObject *unused)
{
	struct safestart_run *run = valid_or_raise(self);

	(void)unused;
	return run == NULL ? NULL : text_take(safestart_run_changes_json(run));
}

static PyObject *run_set_node_key(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid_or_raise(self);
	unsigned long long key;
	const char *id;

	if (run == NULL || !PyArg_ParseTuple(args, "sK", &id, &key))
		return NULL;
	return none_or_raise(safestart_run_set_node_key(run, id, key));
}

/* The live node's object goes on with the candidate's node of this id. */
static PyObject *run_keep(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid_or_raise(self);
	const char *id;

	if (run == NULL || !PyArg_ParseTuple(args, "s", &id))
		return NULL;
	const struct safestart_node *node = safestart_snapshot_find(safestart_run_current(run), id);
	uint64_t key = node != NULL ? safestart_node_key(node) : 0;
	if (key == 0)
		return raise_error(-ENOENT, "no live node of this id has data");
	return none_or_raise(safestart_run_set_node_key(run, id, key));
}

static PyObject *run_set_key(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid_or_raise(self);
	unsigned long long key;

	if (run == NULL || !PyArg_ParseTuple(args, "K", &key))
		return NULL;
	return none_or_raise(safestart_run_set_key(run, key));
}

static PyObject *run_reject(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid_or_raise(self);
	const char *id, *reason;

	if (run == NULL || !PyArg_ParseTuple(args, "sz", &id, &reason))
		return NULL;
	return none_or_raise(safestart_run_reject(run, id, reason));
}

static PyObject *run_set_status(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid_or_raise(self);
	int status;

	if (run == NULL || !PyArg_ParseTuple(args, "i", &status))
		return NULL;
	safestart_run_set_status(run, status);
	Py_RETURN_NONE;
}

/* Quietly nothing for a run that is over: the caller cannot know when that happens. */
static PyObject *run_finish(struct run *self, PyObject *args)
{
	struct safestart_run *run = valid(self);
	const char *words = NULL;
	int error = 0;

	if (!PyArg_ParseTuple(args, "|iz", &error, &words))
		return NULL;
	self->run = NULL;
	if (run != NULL && error == 0)
		safestart_run_finish(run, 0);
	else if (run != NULL)
		safestart_run_fail(run, -error, words);
	Py_RETURN_NONE;
}

static PyObject *run_number(struct run *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(self->number);
}

static PyObject *run_cancelled(struct run *self, void *unused)
{
	struct safestart_run *run = valid(self);

	(void)unused;
	return PyBool_FromLong(run == NULL || safestart_run_cancelled(run));
}

static PyObject *run_finished(struct run *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(valid(self) == NULL);
}

static PyMethodDef run_methods[] = {METHOD("changes", run_changes, METH_NOARGS),
				    METHOD("set_node_key", run_set_node_key, METH_VARARGS),
				    METHOD("keep", run_keep, METH_VARARGS),
				    METHOD("set_key", run_set_key, METH_VARARGS),
				    METHOD("reject", run_reject, METH_VARARGS),
				    METHOD("set_status", run_set_status, METH_VARARGS),
				    METHOD("finish", run_finish, METH_VARARGS),
				    {NULL, NULL, 0, NULL}};

static PyGetSetDef run_members[] = {MEMBER("number", run_number),
				    MEMBER("cancelled", run_cancelled),
				    MEMBER("finished", run_finished),
				    {NULL, NULL, NULL, NULL, NULL}};

int run_add_types(PyObject *module)
{
	PyType_Slot slots[] = {{Py_tp_new, type_no_new},
			       {Py_tp_dealloc, run_dealloc},
			       {Py_tp_methods, run_methods},
			       {Py_tp_getset, run_members},
			       {0, NULL}};
	PyType_Spec spec = {.name = "safestart._native.Run",
			    .basicsize = sizeof(struct run),
			    .flags = Py_TPFLAGS_DEFAULT,
			    .slots = slots};

	return type_add(module, "Run", &spec, &run_type);
}
