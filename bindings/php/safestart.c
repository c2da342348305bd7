/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safestart: the module, and the handles that this process holds over requests. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <errno.h>
#include <time.h>

#include "php_safestart.h"

#include <ext/spl/spl_exceptions.h>
#include <ext/standard/info.h>
#include <php_ini.h>
#include <zend_enum.h>
#include <zend_exceptions.h>
#include <zend_smart_str.h>

#include "safestart_arginfo.h"

zend_class_entry *exception_class, *handle_class, *run_class, *node_class, *change_class,
	*outcome_class, *state_class, *verdict_enum, *state_enum;

ZEND_BEGIN_MODULE_GLOBALS(safestart)
struct held *held; /* all that are open in this process (with ZTS: in this thread) */
char *settings;
ZEND_END_MODULE_GLOBALS(safestart)

ZEND_DECLARE_MODULE_GLOBALS(safestart)
#define SAFESTART_G(v) ZEND_MODULE_GLOBALS_ACCESSOR(safestart, v)

PHP_INI_BEGIN()
STD_PHP_INI_ENTRY("safestart.settings", "", PHP_INI_ALL, OnUpdateString, settings,
		  zend_safestart_globals, safestart_globals)
PHP_INI_END()

void throw_error(int error, const char *why)
{
	zend_throw_exception(exception_class,
			     why != NULL && why[0] != '\0' ? why : safestart_strerror(error),
			     error < 0 ? -error : error);
}

/* ---- What a request has of a handle ---- */

static void free_string(zval *value)
{
	zend_string_release_ex(Z_STR_P(value), true);
}

void begin_request(struct held *held)
{
	zend_hash_init(&held->objects, 0, NULL, ZVAL_PTR_DTOR, false);
	ZVAL_UNDEF(&held->nodes);
	ZVAL_UNDEF(&held->prepare);
	ZVAL_UNDEF(&held->restart);
	ZVAL_UNDEF(&held->log);
	held->inside = 0;
}

static void forget(zval *value)
{
	zval old;

	ZVAL_COPY_VALUE(&old, value);
	ZVAL_UNDEF(value);
	zval_ptr_dtor(&old);
}

void end_request(struct held *held)
{
	forget_runs(held, true);
	forget(&held->nodes);
	zend_hash_destroy(&held->objects);
	forget(&held->prepare);
	forget(&held->restart);
	forget(&held->log);
	begin_request(held); /* empty, and without memory of the request */
}

static void free_held(struct held *held)
{
	zend_hash_destroy(&held->strings);
	pefree(held->settings, true);
	pefree(held, true);
}

/* ---- Opening ---- */

/* "key=value;key=value" as an array. */
static void settings_from_ini(zval *settings)
{
	char *copy = estrdup(SAFESTART_G(settings) != NULL ? SAFESTART_G(settings) : ""),
	     *rest = copy;
	char *one;

	array_init(settings);
	while ((one = php_strtok_r(rest, ";", &rest)) != NULL) {
		char *value = strchr(one, '=');
		one += strspn(one, " ");
		if (value != NULL)
			*value++ = '\0';
		if (value != NULL || one[0] != '\0') /* without a value it is refused in words */
			add_assoc_string(settings, one, value != NULL ? value : "");
	}
	efree(copy);
}

static char *name_of(HashTable *settings, bool pulls)
{
	smart_str name = {0};
	zend_string *key;
	zval *value;

	ZEND_HASH_FOREACH_STR_KEY_VAL(settings, key, value)
	{
		zend_string *text = zval_get_string(value);
		smart_str_append(&name, key != NULL ? key : ZSTR_EMPTY_ALLOC());
		smart_str_appendc(&name, '=');
		smart_str_append(&name, text);
		smart_str_appendc(&name, ';');
		zend_string_release(text);
	}
	ZEND_HASH_FOREACH_END();
	smart_str_appends(&name, pulls ? "events=pull" : "events=callback");
	smart_str_0(&name);
	char *copy = pestrdup(ZSTR_VAL(name.s), true);
	smart_str_free(&name);
	return copy;
}

static int set_all(struct safestart_conf *conf, HashTable *settings, bool pulls, char *why,
		   size_t size)
{
	zend_string *key;
	zval *value;
	int error = 0;

	ZEND_HASH_FOREACH_STR_KEY_VAL(settings, key, value)
	{
		zend_string *text = zval_get_string(value);
		if (error == 0)
			error = safestart_conf_set(conf, key != NULL ? ZSTR_VAL(key) : "",
						   ZSTR_VAL(text), why, size);
		zend_string_release(text);
	}
	ZEND_HASH_FOREACH_END();
	/* Without closures there is nothing that the library would have to ask for: it goes on by
	 * itself, also in a worker that has no request. None of its threads calls anything here. */
	return error == 0 && pulls ? safestart_conf_set(conf, "events", "pull", why, size) : error;
}

static struct held *open_held(HashTable *settings, bool pulls, char *name)
{
	struct held *held = pecalloc(1, sizeof(*held), true);
	struct safestart_conf *conf = safestart_conf_new();
	char why[512] = "";
	int error = conf == NULL ? -ENOMEM : set_all(conf, settings, pulls, why, sizeof(why));

	if (error == 0)
		error = safestart_open(&held->ss, conf, why, sizeof(why));
	safestart_conf_free(conf);
	if (error < 0) {
		pefree(name, true);
		pefree(held, true);
		throw_error(error, why);
		return NULL;
	}
	held->settings = name;
	held->pulls = pulls;
	held->live = safestart_generation_address(held->ss);
	zend_hash_init(&held->strings, 0, NULL, free_string, true);
	begin_request(held);
	held->next = SAFESTART_G(held);
	SAFESTART_G(held) = held;
	return held;
}

static struct held *find_or_open(HashTable *settings, bool pulls)
{
	char *name = name_of(settings, pulls);

	for (struct held *held = SAFESTART_G(held); held != NULL; held = held->next) {
		if (held->ss != NULL && strcmp(held->settings, name) == 0) {
			pefree(name, true);
			return held;
		}
	}
	return open_held(settings, pulls, name);
}

static void take_closure(zval *own, zend_fcall_info *info)
{
	forget(own);
	if (ZEND_FCI_INITIALIZED(*info))
		ZVAL_COPY(own, &info->function_name);
}

PHP_FUNCTION(Safestart_open)
{
	HashTable *settings = NULL;
	zend_fcall_info prepare = empty_fcall_info, restart = empty_fcall_info,
			log = empty_fcall_info;
	zend_fcall_info_cache cache;
	zval own;

	ZEND_PARSE_PARAMETERS_START(0, 4)
	Z_PARAM_OPTIONAL
	Z_PARAM_ARRAY_HT_OR_NULL(settings)
	Z_PARAM_FUNC_OR_NULL(prepare, cache)
	Z_PARAM_FUNC_OR_NULL(restart, cache)
	Z_PARAM_FUNC_OR_NULL(log, cache)
	ZEND_PARSE_PARAMETERS_END();
	ZVAL_UNDEF(&own);
	if (settings == NULL) {
		settings_from_ini(&own);
		settings = Z_ARRVAL(own);
	}
	bool pulls = ZEND_FCI_INITIALIZED(prepare) || ZEND_FCI_INITIALIZED(restart) ||
		     ZEND_FCI_INITIALIZED(log);
	struct held *held = find_or_open(settings, pulls);
	zval_ptr_dtor(&own);
	if (held == NULL)
		RETURN_THROWS();
	take_closure(&held->prepare, &prepare);
	take_closure(&held->restart, &restart);
	take_closure(&held->log, &log);
	object_init_ex(return_value, handle_class);
	CONTAINER(handle, Z_OBJ_P(return_value))->held = held;
	if (held_of(Z_OBJ_P(return_value)) != NULL)
		take_events(held);
}

/* Close waits for nothing of PHP's, but gives up after run_timeout, which may be short for a busy
 * machine. */
static int close_patiently(struct safestart *ss)
{
	time_t limit = time(NULL) + 5;
	int result;

	do
		result = safestart_close(ss);
	while (result == -ETIMEDOUT && time(NULL) < limit);
	return result;
}

PHP_METHOD(Safestart_Handle, close)
{
	struct held *held = held_of(Z_OBJ_P(ZEND_THIS));

	ZEND_PARSE_PARAMETERS_NONE();
	if (held == NULL)
		RETURN_THROWS();
	if (held->inside > 0) {
		throw_error(-EDEADLK, "close inside prepare, restart or log would wait for itself");
		RETURN_THROWS();
	}
	safestart_shutdown(held->ss);
	take_events(held);
	forget_runs(held, false);
	int error = close_patiently(held->ss);
	if (error < 0) {
		throw_error(error, NULL);
		RETURN_THROWS();
	}
	held->ss = NULL; /* what is still a Handle of it says that it is closed */
	held_close_objects(held);
}

PHP_FUNCTION(Safestart_version)
{
	ZEND_PARSE_PARAMETERS_NONE();
	RETURN_STRING(safestart_version());
}

PHP_FUNCTION(Safestart_settings)
{
	const char *key, *value, *help;

	ZEND_PARSE_PARAMETERS_NONE();
	array_init(return_value);
	for (size_t i = 0; safestart_setting(i, &key, &value, &help) == 0; i++)
		add_assoc_string(return_value, key, value);
}

/* ---- The module ---- */

static PHP_MINIT_FUNCTION(safestart)
{
	REGISTER_INI_ENTRIES();
	exception_class = register_class_Safestart_Exception(spl_ce_RuntimeException);
	verdict_enum = register_class_Safestart_Verdict();
	state_enum = register_class_Safestart_NodeState();
	handle_class = register_class_Safestart_Handle();
	run_class = register_class_Safestart_Run();
	node_class = register_class_Safestart_Node();
	change_class = register_class_Safestart_Change();
	outcome_class = register_class_Safestart_Outcome();
	state_class = register_class_Safestart_State();
	init_handle();
	init_run();
	init_nodes();
	return SUCCESS;
}

static PHP_MSHUTDOWN_FUNCTION(safestart)
{
	while (SAFESTART_G(held) != NULL) {
		struct held *held = SAFESTART_G(held);
		SAFESTART_G(held) = held->next;
		close_patiently(held->ss);
		free_held(held);
	}
	UNREGISTER_INI_ENTRIES();
	return SUCCESS;
}

static PHP_RSHUTDOWN_FUNCTION(safestart)
{
	for (struct held **at = &SAFESTART_G(held); *at != NULL;) {
		struct held *held = *at;
		end_request(held);
		if (held->ss != NULL) {
			at = &held->next;
			continue;
		}
		*at = held->next; /* closed in this request */
		free_held(held);
	}
	return SUCCESS;
}

static PHP_GINIT_FUNCTION(safestart)
{
#if defined(COMPILE_DL_SAFESTART) && defined(ZTS)
	ZEND_TSRMLS_CACHE_UPDATE();
#endif
	safestart_globals->held = NULL;
	safestart_globals->settings = NULL;
}

static PHP_MINFO_FUNCTION(safestart)
{
	php_info_print_table_start();
	php_info_print_table_row(2, "safestart", PHP_SAFESTART_VERSION);
	php_info_print_table_row(2, "libsafestart", safestart_version());
	php_info_print_table_end();
	DISPLAY_INI_ENTRIES();
}

zend_module_entry safestart_module_entry = {
	STANDARD_MODULE_HEADER,
	"safestart",
	ext_functions,
	PHP_MINIT(safestart),
	PHP_MSHUTDOWN(safestart),
	NULL,
	PHP_RSHUTDOWN(safestart),
	PHP_MINFO(safestart),
	PHP_SAFESTART_VERSION,
	PHP_MODULE_GLOBALS(safestart),
	PHP_GINIT(safestart),
	NULL,
	NULL,
	STANDARD_MODULE_PROPERTIES_EX,
};

#ifdef COMPILE_DL_SAFESTART
#ifdef ZTS
ZEND_TSRMLS_CACHE_DEFINE()
#endif
ZEND_GET_MODULE(safestart)
#endif
