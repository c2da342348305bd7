/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* module: safestart._native. */
#include "module.h"

PyObject *error_class;

int type_add(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **type)
{
	PyObject *made = PyType_FromSpec(spec);

	if (made == NULL)
		return -1;
	*type = (PyTypeObject *)made;
	Py_INCREF(made);
	if (PyModule_AddObject(module, name, made) < 0) {
		Py_DECREF(made);
		return -1;
	}
	return 0;
}

void type_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	release(self);
	Py_DECREF(type);
}

PyObject *type_no_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)type, (void)args, (void)kwargs;
	PyErr_SetString(PyExc_TypeError, "the library makes these, not the application");
	return NULL;
}

static PyObject *version(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	return text_new(safestart_version());
}

static PyMethodDef functions[] = {{"version", version, METH_NOARGS,
				   "The version of the library that is loaded."},
				  {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = -1,
					.m_methods = functions};

static int add_error(PyObject *module)
{
	error_class = PyErr_NewExceptionWithDoc("safestart.Error",
						"What the library refused: `errno` as in the "
						"module errno, `strerror` in the library's words.",
						PyExc_OSError, NULL);
	if (error_class == NULL)
		return -1;
	Py_INCREF(error_class);
	return PyModule_AddObject(module, "Error", error_class);
}

PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (module != NULL && (add_error(module) < 0 || core_add_types(module) < 0 ||
			       run_add_types(module) < 0 || nodes_add_types(module) < 0))
		Py_CLEAR(module);
	return module;
}
