/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* module: what the files of this extension share. Everything here runs with the GIL held; no thread
 * of the library ever comes here (events=pull). Only the limited API is used, so that one wheel
 * serves every CPython from 3.9 on. */
#ifndef SAFESTART_PYTHON_MODULE_H
#define SAFESTART_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>

#include <stdbool.h>

#include <safestart/safestart.h>

#define METHOD(name, function, flags)                                    \
	{                                                                \
		name, (PyCFunction)(void (*)(void))function, flags, NULL \
	}
#define MEMBER(name, function)                           \
	{                                                \
		name, (getter)function, NULL, NULL, NULL \
	}

/* Owns the library's handle. */
struct core {
	PyObject_HEAD struct safestart *ss; /* NULL: closed */
	unsigned inside; /* calls that have released the GIL: close waits until they are out */
	unsigned forks;  /* how often the handle was made a child's own: runs of before are void */
};

extern PyTypeObject *core_type, *run_type, *snapshot_type, *node_type, *watch_type;
extern PyObject *error_class; /* safestart.Error, an OSError */

/* ---- core.c */
/* Returns: NULL, with the exception set; `error` is -errno, `words` may be NULL. */
PyObject *raise_error(int error, const char *words);
/* What the library says may have been cut in the middle of a character. */
PyObject *text_new(const char *text);
/* Takes what the library has allocated; NULL is out of memory. */
PyObject *text_take(char *text);
/* Returns: the handle; NULL: closed, with the exception set. */
struct safestart *core_handle(struct core *core);
int core_add_types(PyObject *module);

/* ---- run.c */
PyObject *run_new(struct core *core, struct safestart_run *run, uint64_t number);
int run_add_types(PyObject *module);

/* ---- nodes.c */
/* The live snapshot, owned; `objects` is the dict that has the nodes' data by their keys. */
PyObject *snapshot_new(struct core *core, PyObject *objects);
int nodes_add_types(PyObject *module);

/* Each type is made once, and kept by the module. */
int type_add(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **type);
/* Frees the memory of an object of one of these types, at the end of its dealloc. */
void type_free(PyObject *self);
/* tp_new of a type that Python code must not make: its members would be NULL. */
PyObject *type_no_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

#endif
