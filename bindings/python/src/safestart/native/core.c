/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* core: the handle, as the library has it. Calls that can take longer release the GIL; `inside`
 * then keeps another thread's close away. What is closed raises an error, on whatever thread. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "module.h"

#define WHY_SIZE 1024

PyTypeObject *core_type;

PyObject *text_new(const char *text)
{
	return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

PyObject *text_take(char *text)
{
	if (text == NULL)
		return PyErr_NoMemory();
	PyObject *made = text_new(text);
	safestart_free(text);
	return made;
}

PyObject *raise_error(int error, const char *words)
{
	PyObject *text =
		text_new(words != NULL && words[0] != '\0' ? words : safestart_strerror(error));
	PyObject *arguments = text != NULL ? Py_BuildValue("(iN)", -error, text) : NULL;

	if (arguments != NULL)
		PyErr_SetObject(error_class, arguments);
	Py_XDECREF(arguments);
	return NULL;
}

struct safestart *core_handle(struct core *core)
{
	if (core->ss == NULL)
		raise_error(-ECANCELED, "the handle is closed");
	return core->ss;
}

static PyObject *none_or_raise(int error, const char *words)
{
	if (error < 0)
		return raise_error(error, words);
	Py_RETURN_NONE;
}

/* ---- Open and close ---- */

/* The exception is set when it returns NULL. */
static struct safestart_conf *conf_of(PyObject *settings)
{
	struct safestart_conf *conf = safestart_conf_new();
	PyObject *key, *value;
	const char *key_text, *value_text;
	char why[WHY_SIZE];
	Py_ssize_t at = 0;

	if (conf == NULL) {
		PyErr_NoMemory();
		return NULL;
	}
	while (PyDict_Next(settings, &at, &key, &value)) {
		int error = 0;
		if (PyArg_Parse(key, "s", &key_text) && PyArg_Parse(value, "s", &value_text)) {
			error = safestart_conf_set(conf, key_text, value_text, why, sizeof(why));
			if (error < 0)
				raise_error(error, why);
		}
		if (PyErr_Occurred()) {
			safestart_conf_free(conf);
			return NULL;
		}
	}
	return conf;
}

static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	PyObject *settings;
	char why[WHY_SIZE];
	int error;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "O!", &PyDict_Type, &settings))
		return NULL;
	struct core *core = (struct core *)allocate(type, 0);
	if (core == NULL)
		return NULL;
	struct safestart_conf *conf = conf_of(settings);
	if (conf == NULL) {
		Py_DECREF(core);
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS error = safestart_open(&core->ss, conf, why, sizeof(why));
	safestart_conf_free(conf);
	Py_END_ALLOW_THREADS if (error < 0)
	{
		Py_DECREF(core);
		return raise_error(error, why);
	}
	return (PyObject *)core;
}

static PyObject *core_close(struct core *core, PyObject *unused)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	struct safestart *ss = core->ss;
	int error;

	(void)unused;
	core->ss = NULL; /* nobody comes in any more */
	Py_BEGIN_ALLOW_THREADS while (__atomic_load_n(&core->inside, __ATOMIC_ACQUIRE) > 0)
		nanosleep(&moment, NULL);
	error = safestart_close(ss);
	Py_END_ALLOW_THREADS if (error < 0) core->ss = ss;
	return none_or_raise(error, NULL);
}

/* The last reference went: nobody calls, nobody takes events. */
static void core_dealloc(struct core *core)
{
	struct safestart *ss = core->ss;

	Py_BEGIN_ALLOW_THREADS safestart_close(ss);
	Py_END_ALLOW_THREADS type_free((PyObject *)core);
}

static PyObject *core_shutdown(struct core *core, PyObject *unused)
{
	(void)unused;
	safestart_shutdown(core->ss);
	Py_RETURN_NONE;
}

static PyObject *core_is_closed(struct core *core, void *unused)
{
	(void)unused;
	return PyBool_FromLong(core->ss == NULL);
}

/* ---- Fork ---- */

static PyObject *core_after_fork(struct core *core, PyObject *unused)
{
	struct safestart *ss = core_handle(core);

	(void)unused;
	return ss == NULL ? NULL : none_or_raise(safestart_after_fork(ss), NULL);
}

/* In the child, on its only thread: what other threads of the parent were in does not count. */
static PyObject *core_disown(struct core *core, PyObject *unused)
{
	(void)unused;
	core->inside = 0;
	core->forks++;
	Py_RETURN_NONE;
}

static PyObject *core_after_fork_set(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	const char *key, *value;
	char why[WHY_SIZE];

	if (ss == NULL || !PyArg_ParseTuple(args, "ss", &key, &value))
		return NULL;
	return none_or_raise(safestart_after_fork_set(ss, key, value, why, sizeof(why)), why);
}

/* ---- Requests and their outcomes ---- */

static PyObject *outcome_new(const struct safestart_outcome *o)
{
	return Py_BuildValue("(iiNKKKIIKiiK)", o->verdict, o->error, text_new(o->message),
			     (unsigned long long)o->run, (unsigned long long)o->generation,
			     (unsigned long long)o->requests, o->attempts, o->quarantined,
			     (unsigned long long)o->ticket, o->status, o->pid,
			     (unsigned long long)o->merged);
}

static PyObject *core_request(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	const char *reason;
	unsigned flags;

	if (ss == NULL || !PyArg_ParseTuple(args, "Iz", &flags, &reason))
		return NULL;
	uint64_t ticket = safestart_request(ss, flags, reason);
	return ticket == 0 ? raise_error(-ECANCELED, "the handle was shut down")
			   : PyLong_FromUnsignedLongLong(ticket);
}

/* A PENDING one while the ticket is not answered. Waits for nothing. */
static PyObject *core_outcome(struct core *core, PyObject *args)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss = core_handle(core);
	unsigned long long ticket;

	if (ss == NULL || !PyArg_ParseTuple(args, "K", &ticket))
		return NULL;
	int error = safestart_wait(ss, ticket, 0, &outcome);
	return error == 0 || error == -ETIMEDOUT ? outcome_new(&outcome) : raise_error(error, NULL);
}

static PyObject *core_last_outcome(struct core *core, PyObject *unused)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss = core_handle(core);

	(void)unused;
	if (ss == NULL)
		return NULL;
	int error = safestart_last_outcome(ss, &outcome);
	if (error == -EAGAIN)
		Py_RETURN_NONE;
	return error == 0 ? outcome_new(&outcome) : raise_error(error, NULL);
}

static PyObject *core_is_ready(struct core *core, PyObject *unused)
{
	struct safestart *ss = core_handle(core);

	(void)unused;
	if (ss == NULL)
		return NULL;
	int error = safestart_wait_ready(ss, 0);
	return error == 0 || error == -ETIMEDOUT ? PyBool_FromLong(error == 0)
						 : raise_error(error, NULL);
}

/* ---- Setting the nodes by call ---- */

static PyObject *ticket_or_raise(int error, uint64_t ticket, const char *words)
{
	return error < 0 ? raise_error(error, words) : PyLong_FromUnsignedLongLong(ticket);
}

static PyObject *core_replace(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	uint64_t ticket = 0;
	char why[WHY_SIZE];
	const char *json;
	int error;

	if (ss == NULL || !PyArg_ParseTuple(args, "s", &json))
		return NULL;
	__atomic_add_fetch(&core->inside, 1, __ATOMIC_RELAXED);
	Py_BEGIN_ALLOW_THREADS error = safestart_nodes_replace(ss, json, &ticket, why, sizeof(why));
	Py_END_ALLOW_THREADS __atomic_sub_fetch(&core->inside, 1, __ATOMIC_RELEASE);
	return ticket_or_raise(error, ticket, why);
}

static PyObject *core_announce(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	const char *id, *address, *incarnation;
	uint64_t ticket = 0;

	if (ss == NULL || !PyArg_ParseTuple(args, "ssz", &id, &address, &incarnation))
		return NULL;
	int error = safestart_node_announce(ss, id, address, incarnation, &ticket);
	return ticket_or_raise(error, ticket, NULL);
}

static PyObject *core_withdraw(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	uint64_t ticket = 0;
	const char *id;

	if (ss == NULL || !PyArg_ParseTuple(args, "s", &id))
		return NULL;
	int error = safestart_node_withdraw(ss, id, &ticket);
	return ticket_or_raise(error, ticket, NULL);
}

static PyObject *core_state(struct core *core, PyObject *args)
{
	struct safestart *ss = core_handle(core);
	char why[WHY_SIZE];
	const char *id;

	if (ss == NULL || !PyArg_ParseTuple(args, "s", &id))
		return NULL;
	int state = safestart_node_state(ss, id, why, sizeof(why));
	return state < 0 ? raise_error(state, NULL) : Py_BuildValue("(iN)", state, text_new(why));
}

/* ---- Reading, status ---- */

static PyObject *core_text(struct core *core, char *(*get)(struct safestart *))
{
	struct safestart *ss = core_handle(core);
	char *text;

	if (ss == NULL)
		return NULL;
	__atomic_add_fetch(&core->inside, 1, __ATOMIC_RELAXED);
	Py_BEGIN_ALLOW_THREADS text = get(ss);
	Py_END_ALLOW_THREADS __atomic_sub_fetch(&core->inside, 1, __ATOMIC_RELEASE);
	return text_take(text);
}

static PyObject *core_status(struct core *core, PyObject *unused)
{
	(void)unused;
	return core_text(core, safestart_status_json);
}

static PyObject *core_metrics(struct core *core, PyObject *unused)
{
	(void)unused;
	return core_text(core, safestart_metrics_text);
}

static PyObject *core_generation(struct core *core, PyObject *unused)
{
	struct safestart *ss = core_handle(core);

	(void)unused;
	return ss == NULL ? NULL : PyLong_FromUnsignedLongLong(safestart_generation(ss));
}

static PyObject *core_snapshot(struct core *core, PyObject *objects)
{
	return core_handle(core) == NULL ? NULL : snapshot_new(core, objects);
}

/* ---- Events ---- */

static PyObject *core_event_fd(struct core *core, PyObject *unused)
{
	struct safestart *ss = core_handle(core);

	(void)unused;
	return ss == NULL ? NULL : PyLong_FromLong(safestart_event_fd(ss));
}

/* What an event brings is copied at once: it is valid only until the next one is taken. */
static PyObject *event_payload(struct core *core, const struct safestart_event *event)
{
	switch (event->kind) {
	case SAFESTART_EVENT_PREPARE:
	case SAFESTART_EVENT_RESTART: return run_new(core, event->run, event->run_number);
	case SAFESTART_EVENT_RETIRE:
	case SAFESTART_EVENT_RETIRE_NODE: return PyLong_FromUnsignedLongLong(event->key);
	case SAFESTART_EVENT_OUTCOME: return outcome_new(event->outcome);
	case SAFESTART_EVENT_LOG: return Py_BuildValue("(iN)", event->level, text_new(event->text));
	default: return PyLong_FromUnsignedLongLong(event->run_number);
	}
}

static PyObject *core_next_event(struct core *core, PyObject *unused)
{
	struct safestart_event event = {.size = sizeof(event)};
	struct safestart *ss = core_handle(core);

	(void)unused;
	if (ss == NULL)
		return NULL;
	int taken = safestart_next_event(ss, &event);
	if (taken == 0 || taken == -ECANCELED)
		return Py_BuildValue("(iO)", taken == 0 ? 0 : -1, Py_None);
	if (taken < 0)
		return raise_error(taken, NULL);
	PyObject *payload = event_payload(core, &event);
	return payload == NULL ? NULL : Py_BuildValue("(iN)", event.kind, payload);
}

/* ---- The type ---- */

static PyMethodDef core_methods[] = {METHOD("close", core_close, METH_NOARGS),
				     METHOD("shutdown", core_shutdown, METH_NOARGS),
				     METHOD("after_fork", core_after_fork, METH_NOARGS),
				     METHOD("after_fork_set", core_after_fork_set, METH_VARARGS),
				     METHOD("disown", core_disown, METH_NOARGS),
				     METHOD("request", core_request, METH_VARARGS),
				     METHOD("outcome", core_outcome, METH_VARARGS),
				     METHOD("last_outcome", core_last_outcome, METH_NOARGS),
				     METHOD("is_ready", core_is_ready, METH_NOARGS),
				     METHOD("replace", core_replace, METH_VARARGS),
				     METHOD("announce", core_announce, METH_VARARGS),
				     METHOD("withdraw", core_withdraw, METH_VARARGS),
				     METHOD("state", core_state, METH_VARARGS),
				     METHOD("status", core_status, METH_NOARGS),
				     METHOD("metrics", core_metrics, METH_NOARGS),
				     METHOD("generation", core_generation, METH_NOARGS),
				     METHOD("snapshot", core_snapshot, METH_O),
				     METHOD("event_fd", core_event_fd, METH_NOARGS),
				     METHOD("next_event", core_next_event, METH_NOARGS),
				     {NULL, NULL, 0, NULL}};

static PyGetSetDef core_members[] = {MEMBER("closed", core_is_closed),
				     {NULL, NULL, NULL, NULL, NULL}};

int core_add_types(PyObject *module)
{
	PyType_Slot slots[] = {{Py_tp_new, core_new},
			       {Py_tp_dealloc, core_dealloc},
			       {Py_tp_methods, core_methods},
			       {Py_tp_getset, core_members},
			       {0, NULL}};
	PyType_Spec spec = {.name = "safestart._native.Core",
			    .basicsize = sizeof(struct core),
			    .flags = Py_TPFLAGS_DEFAULT,
			    .slots = slots};

	return type_add(module, "Core", &spec, &core_type);
}
