/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: Safestart\Run, by which prepare and restart do their part. */
#include <errno.h>

#include "php_safestart.h"

#include <zend_exceptions.h>

static zend_object_handlers run_handlers;

static void let_go(struct run *run)
{
	if (run->held == NULL)
		return;
	for (struct run **at = &run->held->runs; *at != NULL; at = &(*at)->next) {
		if (*at == run) {
			*at = run->next;
			break;
		}
	}
	run->held = NULL;
	run->run = NULL;
}

/* Once; nothing if it is over already. */
static void finish(struct run *run, int error, const char *words)
{
	struct safestart_run *own = run->run;

	let_go(run);
	if (own != NULL && error == 0)
		safestart_run_finish(own, 0);
	else if (own != NULL)
		safestart_run_fail(own, error, words);
}

static void run_free(zend_object *object)
{
	finish(CONTAINER(run, object), -ECANCELED, "its Run was dropped before it was finished");
	zend_object_std_dtor(object);
}

void forget_runs(struct held *held, bool fail)
{
	while (held->runs != NULL) {
		if (fail)
			finish(held->runs, -ECANCELED, "the request that prepared it has ended");
		else
			let_go(held->runs);
	}
}

static zend_object *run_create(zend_class_entry *class)
{
	struct run *run = zend_object_alloc(sizeof(*run), class);

	zend_object_std_init(&run->std, class);
	object_properties_init(&run->std, class);
	run->std.handlers = &run_handlers;
	run->run = NULL;
	run->held = NULL;
	run->later = false;
	run->next = NULL;
	return &run->std;
}

static void fail_by_exception(struct run *run)
{
	zend_object *thrown = EG(exception);
	zval scratch;

	if (zend_is_unwind_exit(thrown)) { /* exit() goes on */
		finish(run, -ECANCELED, "exit() was called");
		return;
	}
	zend_string *message =
		zval_get_string(zend_read_property(zend_get_exception_base(thrown), thrown,
						   ZEND_STRL("message"), true, &scratch));
	zend_string *words = strpprintf(0, "%s: %s", ZSTR_VAL(thrown->ce->name), ZSTR_VAL(message));
	finish(run, -EIO, ZSTR_VAL(words));
	zend_string_release(words);
	zend_string_release(message);
	zend_clear_exception();
}

void call_with_run(struct held *held, struct safestart_run *own, zval *closure)
{
	zval object, result;

	if (Z_ISUNDEF_P(closure)) {
		safestart_run_finish(own, 0);
		return;
	}
	object_init_ex(&object, run_class);
	struct run *run = CONTAINER(run, Z_OBJ(object));
	run->run = own;
	run->held = held;
	run->next = held->runs;
	held->runs = run;
	ZVAL_UNDEF(&result);
	held->inside++;
	call_user_function(NULL, NULL, closure, &result, 1, &object);
	leave_closure(held);
	if (EG(exception) != NULL)
		fail_by_exception(run);
	else if (!run->later)
		finish(run, 0, NULL);
	zval_ptr_dtor(&result);
	zval_ptr_dtor(&object);
}

/* ---- Methods ---- */

static struct safestart_run *run_of(zval *this)
{
	struct run *run = CONTAINER(run, Z_OBJ_P(this));

	if (run->held != NULL && safestart_forked(run->held->ss) == 1)
		let_go(run); /* it is the parent's */
	if (run->run == NULL)
		throw_error(-ESTALE, "the run is over");
	return run->run;
}

PHP_METHOD(Safestart_Run, number)
{
	struct safestart_run *run = run_of(ZEND_THIS);

	ZEND_PARSE_PARAMETERS_NONE();
	if (run == NULL)
		RETURN_THROWS();
	RETURN_LONG((zend_long)safestart_run_number(run));
}

PHP_METHOD(Safestart_Run, cancelled)
{
	struct run *run = CONTAINER(run, Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	RETURN_BOOL(run->run == NULL || safestart_forked(run->held->ss) == 1 ||
		    safestart_run_cancelled(run->run));
}

static void new_change(zval *into, const struct safestart_node *node, const char *kind)
{
	object_init_ex(into, change_class);
	set_string(Z_OBJ_P(into), "kind", kind);
	node_into(Z_OBJ_P(into), node);
}

PHP_METHOD(Safestart_Run, changes)
{
	static const char *const kinds[] = {"", "added", "removed", "changed"};
	struct safestart_run *run = run_of(ZEND_THIS);
	const struct safestart_node *node;
	int kind;

	ZEND_PARSE_PARAMETERS_NONE();
	if (run == NULL)
		RETURN_THROWS();
	array_init(return_value);
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		zval change, was;
		new_change(&change, node, kinds[kind]);
		if (kind == SAFESTART_CHANGED) {
			new_change(&was,
				   safestart_snapshot_find(safestart_run_current(run),
							   safestart_node_id(node)),
				   "removed");
			zend_update_property(change_class, Z_OBJ(change), ZEND_STRL("was"), &was);
			zval_ptr_dtor(&was);
		}
		add_next_index_zval(return_value, &change);
	}
}

PHP_METHOD(Safestart_Run, reject)
{
	struct safestart_run *run = run_of(ZEND_THIS);
	char *id, *reason = NULL;
	size_t length;

	ZEND_PARSE_PARAMETERS_START(1, 2)
	Z_PARAM_PATH(id, length)
	Z_PARAM_OPTIONAL
	Z_PARAM_STRING_OR_NULL(reason, length)
	ZEND_PARSE_PARAMETERS_END();
	if (run == NULL)
		RETURN_THROWS();
	int error = safestart_run_reject(run, id, reason);
	if (error < 0)
		throw_error(error, NULL);
}

/* NULL as id: of the generation. */
static void set_data(zval *this, const char *id, zval *data)
{
	struct safestart_run *run = run_of(this);

	if (run == NULL)
		return;
	struct held *held = CONTAINER(run, Z_OBJ_P(this))->held;
	uint64_t key = keep_data(held, data);
	int error = id != NULL ? safestart_run_set_node_key(run, id, key)
			       : safestart_run_set_key(run, key);
	if (error < 0) {
		drop_data(held, key, false);
		throw_error(error, NULL);
	}
}

static bool is_data(zval *data, uint32_t argument)
{
	if (Z_TYPE_P(data) == IS_OBJECT || Z_TYPE_P(data) == IS_STRING)
		return true;
	zend_argument_type_error(argument, "must be of type object|string, %s given",
				 zend_zval_type_name(data));
	return false;
}

PHP_METHOD(Safestart_Run, set)
{
	char *id;
	size_t length;
	zval *data;

	ZEND_PARSE_PARAMETERS_START(2, 2)
	Z_PARAM_PATH(id, length)
	Z_PARAM_ZVAL(data)
	ZEND_PARSE_PARAMETERS_END();
	if (is_data(data, 2))
		set_data(ZEND_THIS, id, data);
}

PHP_METHOD(Safestart_Run, setData)
{
	zval *data;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_ZVAL(data)
	ZEND_PARSE_PARAMETERS_END();
	if (is_data(data, 1))
		set_data(ZEND_THIS, NULL, data);
}

PHP_METHOD(Safestart_Run, setStatus)
{
	struct safestart_run *run = run_of(ZEND_THIS);
	zend_long status;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_LONG(status)
	ZEND_PARSE_PARAMETERS_END();
	if (run != NULL)
		safestart_run_set_status(run, (int)status);
}

PHP_METHOD(Safestart_Run, later)
{
	ZEND_PARSE_PARAMETERS_NONE();
	CONTAINER(run, Z_OBJ_P(ZEND_THIS))->later = true;
}

PHP_METHOD(Safestart_Run, finish)
{
	ZEND_PARSE_PARAMETERS_NONE();
	if (run_of(ZEND_THIS) != NULL)
		finish(CONTAINER(run, Z_OBJ_P(ZEND_THIS)), 0, NULL);
}

PHP_METHOD(Safestart_Run, fail)
{
	char *words;
	size_t length;

	ZEND_PARSE_PARAMETERS_START(1, 1)
	Z_PARAM_STRING(words, length)
	ZEND_PARSE_PARAMETERS_END();
	if (run_of(ZEND_THIS) != NULL)
		finish(CONTAINER(run, Z_OBJ_P(ZEND_THIS)), -EIO, words);
}

void init_run(void)
{
	run_class->create_object = run_create;
	memcpy(&run_handlers, &std_object_handlers, sizeof(run_handlers));
	run_handlers.offset = XtOffsetOf(struct run, std);
	run_handlers.free_obj = run_free;
	run_handlers.clone_obj = NULL;
}
