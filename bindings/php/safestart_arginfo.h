/* clang-format off */
/* This is a generated file, edit the .stub.php file instead.
 * Stub hash: c695fb9190d9e33a8e2df90fd7ca89c7081c9394 */

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_Safestart_open, 0, 0, Safestart\\Handle, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, settings, IS_ARRAY, 1, "null")
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, prepare, IS_CALLABLE, 1, "null")
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, restart, IS_CALLABLE, 1, "null")
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, log, IS_CALLABLE, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_Safestart_version, 0, 0, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_Safestart_settings, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_request, 0, 0, IS_LONG, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, reason, IS_STRING, 1, "null")
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, force, _IS_BOOL, 0, "false")
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, urgent, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_replace, 0, 1, IS_LONG, 0)
	ZEND_ARG_TYPE_INFO(0, json, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_announce, 0, 2, IS_LONG, 0)
	ZEND_ARG_TYPE_INFO(0, id, IS_STRING, 0)
	ZEND_ARG_TYPE_INFO(0, address, IS_STRING, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, incarnation, IS_STRING, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_withdraw, 0, 1, IS_LONG, 0)
	ZEND_ARG_TYPE_INFO(0, id, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_class_Safestart_Handle_wait, 0, 1, Safestart\\Outcome, 1)
	ZEND_ARG_TYPE_INFO(0, ticket, IS_LONG, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, timeout, IS_DOUBLE, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_waitReady, 0, 0, _IS_BOOL, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, timeout, IS_DOUBLE, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_poll, 0, 0, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, timeout, IS_DOUBLE, 1, "0")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_fd, 0, 0, IS_LONG, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_class_Safestart_Handle_lastOutcome, 0, 0, Safestart\\Outcome, 1)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_report, 0, 1, IS_VOID, 0)
	ZEND_ARG_OBJ_TYPE_MASK(0, node, Safestart\\\116ode, MAY_BE_STRING, NULL)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, error, IS_LONG, 0, "0")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_class_Safestart_Handle_state, 0, 1, Safestart\\State, 0)
	ZEND_ARG_TYPE_INFO(0, id, IS_STRING, 0)
ZEND_END_ARG_INFO()

#define arginfo_class_Safestart_Handle_status arginfo_Safestart_version

#define arginfo_class_Safestart_Handle_metrics arginfo_Safestart_version

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_afterFork, 0, 0, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, settings, IS_ARRAY, 0, "[]")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Handle_shutdown, 0, 0, IS_VOID, 0)
ZEND_END_ARG_INFO()

#define arginfo_class_Safestart_Handle_close arginfo_class_Safestart_Handle_shutdown

#define arginfo_class_Safestart_Run_number arginfo_class_Safestart_Handle_fd

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_cancelled, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

#define arginfo_class_Safestart_Run_changes arginfo_Safestart_settings

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_reject, 0, 1, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO(0, id, IS_STRING, 0)
	ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, reason, IS_STRING, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_set, 0, 2, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO(0, id, IS_STRING, 0)
	ZEND_ARG_TYPE_MASK(0, data, MAY_BE_OBJECT|MAY_BE_STRING, NULL)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_setData, 0, 1, IS_VOID, 0)
	ZEND_ARG_TYPE_MASK(0, data, MAY_BE_OBJECT|MAY_BE_STRING, NULL)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_setStatus, 0, 1, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO(0, status, IS_LONG, 0)
ZEND_END_ARG_INFO()

#define arginfo_class_Safestart_Run_later arginfo_class_Safestart_Handle_shutdown

#define arginfo_class_Safestart_Run_finish arginfo_class_Safestart_Handle_shutdown

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_class_Safestart_Run_fail, 0, 1, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO(0, message, IS_STRING, 0)
ZEND_END_ARG_INFO()


ZEND_FUNCTION(Safestart_open);
ZEND_FUNCTION(Safestart_version);
ZEND_FUNCTION(Safestart_settings);
ZEND_METHOD(Safestart_Handle, request);
ZEND_METHOD(Safestart_Handle, replace);
ZEND_METHOD(Safestart_Handle, announce);
ZEND_METHOD(Safestart_Handle, withdraw);
ZEND_METHOD(Safestart_Handle, wait);
ZEND_METHOD(Safestart_Handle, waitReady);
ZEND_METHOD(Safestart_Handle, poll);
ZEND_METHOD(Safestart_Handle, fd);
ZEND_METHOD(Safestart_Handle, lastOutcome);
ZEND_METHOD(Safestart_Handle, report);
ZEND_METHOD(Safestart_Handle, state);
ZEND_METHOD(Safestart_Handle, status);
ZEND_METHOD(Safestart_Handle, metrics);
ZEND_METHOD(Safestart_Handle, afterFork);
ZEND_METHOD(Safestart_Handle, shutdown);
ZEND_METHOD(Safestart_Handle, close);
ZEND_METHOD(Safestart_Run, number);
ZEND_METHOD(Safestart_Run, cancelled);
ZEND_METHOD(Safestart_Run, changes);
ZEND_METHOD(Safestart_Run, reject);
ZEND_METHOD(Safestart_Run, set);
ZEND_METHOD(Safestart_Run, setData);
ZEND_METHOD(Safestart_Run, setStatus);
ZEND_METHOD(Safestart_Run, later);
ZEND_METHOD(Safestart_Run, finish);
ZEND_METHOD(Safestart_Run, fail);


static const zend_function_entry ext_functions[] = {
	ZEND_NS_FALIAS("Safestart", open, Safestart_open, arginfo_Safestart_open)
	ZEND_NS_FALIAS("Safestart", version, Safestart_version, arginfo_Safestart_version)
	ZEND_NS_FALIAS("Safestart", settings, Safestart_settings, arginfo_Safestart_settings)
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Exception_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Verdict_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_NodeState_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Handle_methods[] = {
	ZEND_ME(Safestart_Handle, request, arginfo_class_Safestart_Handle_request, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, replace, arginfo_class_Safestart_Handle_replace, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, announce, arginfo_class_Safestart_Handle_announce, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, withdraw, arginfo_class_Safestart_Handle_withdraw, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, wait, arginfo_class_Safestart_Handle_wait, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, waitReady, arginfo_class_Safestart_Handle_waitReady, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, poll, arginfo_class_Safestart_Handle_poll, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, fd, arginfo_class_Safestart_Handle_fd, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, lastOutcome, arginfo_class_Safestart_Handle_lastOutcome, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, report, arginfo_class_Safestart_Handle_report, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, state, arginfo_class_Safestart_Handle_state, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, status, arginfo_class_Safestart_Handle_status, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, metrics, arginfo_class_Safestart_Handle_metrics, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, afterFork, arginfo_class_Safestart_Handle_afterFork, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, shutdown, arginfo_class_Safestart_Handle_shutdown, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Handle, close, arginfo_class_Safestart_Handle_close, ZEND_ACC_PUBLIC)
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Run_methods[] = {
	ZEND_ME(Safestart_Run, number, arginfo_class_Safestart_Run_number, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, cancelled, arginfo_class_Safestart_Run_cancelled, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, changes, arginfo_class_Safestart_Run_changes, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, reject, arginfo_class_Safestart_Run_reject, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, set, arginfo_class_Safestart_Run_set, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, setData, arginfo_class_Safestart_Run_setData, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, setStatus, arginfo_class_Safestart_Run_setStatus, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, later, arginfo_class_Safestart_Run_later, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, finish, arginfo_class_Safestart_Run_finish, ZEND_ACC_PUBLIC)
	ZEND_ME(Safestart_Run, fail, arginfo_class_Safestart_Run_fail, ZEND_ACC_PUBLIC)
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Node_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Change_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_Outcome_methods[] = {
	ZEND_FE_END
};


static const zend_function_entry class_Safestart_State_methods[] = {
	ZEND_FE_END
};

static zend_class_entry *register_class_Safestart_Exception(zend_class_entry *class_entry_RuntimeException)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Exception", class_Safestart_Exception_methods);
	class_entry = zend_register_internal_class_ex(&ce, class_entry_RuntimeException);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Verdict(void)
{
	zend_class_entry *class_entry = zend_register_internal_enum("Safestart\\Verdict", IS_LONG, class_Safestart_Verdict_methods);

	zval enum_case_Applied_value;
	ZVAL_LONG(&enum_case_Applied_value, 0);
	zend_enum_add_case_cstr(class_entry, "Applied", &enum_case_Applied_value);

	zval enum_case_Unchanged_value;
	ZVAL_LONG(&enum_case_Unchanged_value, 1);
	zend_enum_add_case_cstr(class_entry, "Unchanged", &enum_case_Unchanged_value);

	zval enum_case_Refused_value;
	ZVAL_LONG(&enum_case_Refused_value, 2);
	zend_enum_add_case_cstr(class_entry, "Refused", &enum_case_Refused_value);

	zval enum_case_Failed_value;
	ZVAL_LONG(&enum_case_Failed_value, 3);
	zend_enum_add_case_cstr(class_entry, "Failed", &enum_case_Failed_value);

	zval enum_case_TimedOut_value;
	ZVAL_LONG(&enum_case_TimedOut_value, 4);
	zend_enum_add_case_cstr(class_entry, "TimedOut", &enum_case_TimedOut_value);

	zval enum_case_Cancelled_value;
	ZVAL_LONG(&enum_case_Cancelled_value, 5);
	zend_enum_add_case_cstr(class_entry, "Cancelled", &enum_case_Cancelled_value);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_NodeState(void)
{
	zend_class_entry *class_entry = zend_register_internal_enum("Safestart\\NodeState", IS_LONG, class_Safestart_NodeState_methods);

	zval enum_case_Unknown_value;
	ZVAL_LONG(&enum_case_Unknown_value, 0);
	zend_enum_add_case_cstr(class_entry, "Unknown", &enum_case_Unknown_value);

	zval enum_case_Announced_value;
	ZVAL_LONG(&enum_case_Announced_value, 1);
	zend_enum_add_case_cstr(class_entry, "Announced", &enum_case_Announced_value);

	zval enum_case_Applied_value;
	ZVAL_LONG(&enum_case_Applied_value, 2);
	zend_enum_add_case_cstr(class_entry, "Applied", &enum_case_Applied_value);

	zval enum_case_Proven_value;
	ZVAL_LONG(&enum_case_Proven_value, 3);
	zend_enum_add_case_cstr(class_entry, "Proven", &enum_case_Proven_value);

	zval enum_case_Failing_value;
	ZVAL_LONG(&enum_case_Failing_value, 4);
	zend_enum_add_case_cstr(class_entry, "Failing", &enum_case_Failing_value);

	zval enum_case_Quarantined_value;
	ZVAL_LONG(&enum_case_Quarantined_value, 5);
	zend_enum_add_case_cstr(class_entry, "Quarantined", &enum_case_Quarantined_value);

	zval enum_case_Retired_value;
	ZVAL_LONG(&enum_case_Retired_value, 6);
	zend_enum_add_case_cstr(class_entry, "Retired", &enum_case_Retired_value);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Handle(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Handle", class_Safestart_Handle_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Run(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Run", class_Safestart_Run_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Node(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Node", class_Safestart_Node_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	zval property_id_default_value;
	ZVAL_UNDEF(&property_id_default_value);
	zend_string *property_id_name = zend_string_init("id", sizeof("id") - 1, 1);
	zend_declare_typed_property(class_entry, property_id_name, &property_id_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_id_name);

	zval property_host_default_value;
	ZVAL_UNDEF(&property_host_default_value);
	zend_string *property_host_name = zend_string_init("host", sizeof("host") - 1, 1);
	zend_declare_typed_property(class_entry, property_host_name, &property_host_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_host_name);

	zval property_port_default_value;
	ZVAL_UNDEF(&property_port_default_value);
	zend_string *property_port_name = zend_string_init("port", sizeof("port") - 1, 1);
	zend_declare_typed_property(class_entry, property_port_name, &property_port_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_port_name);

	zval property_labels_default_value;
	ZVAL_UNDEF(&property_labels_default_value);
	zend_string *property_labels_name = zend_string_init("labels", sizeof("labels") - 1, 1);
	zend_declare_typed_property(class_entry, property_labels_name, &property_labels_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_ARRAY));
	zend_string_release(property_labels_name);

	zval property_data_default_value;
	ZVAL_NULL(&property_data_default_value);
	zend_string *property_data_name = zend_string_init("data", sizeof("data") - 1, 1);
	zend_declare_typed_property(class_entry, property_data_name, &property_data_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_ANY));
	zend_string_release(property_data_name);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Change(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Change", class_Safestart_Change_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	zval property_kind_default_value;
	ZVAL_UNDEF(&property_kind_default_value);
	zend_string *property_kind_name = zend_string_init("kind", sizeof("kind") - 1, 1);
	zend_declare_typed_property(class_entry, property_kind_name, &property_kind_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_kind_name);

	zval property_id_default_value;
	ZVAL_UNDEF(&property_id_default_value);
	zend_string *property_id_name = zend_string_init("id", sizeof("id") - 1, 1);
	zend_declare_typed_property(class_entry, property_id_name, &property_id_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_id_name);

	zval property_host_default_value;
	ZVAL_UNDEF(&property_host_default_value);
	zend_string *property_host_name = zend_string_init("host", sizeof("host") - 1, 1);
	zend_declare_typed_property(class_entry, property_host_name, &property_host_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_host_name);

	zval property_port_default_value;
	ZVAL_UNDEF(&property_port_default_value);
	zend_string *property_port_name = zend_string_init("port", sizeof("port") - 1, 1);
	zend_declare_typed_property(class_entry, property_port_name, &property_port_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_port_name);

	zval property_labels_default_value;
	ZVAL_UNDEF(&property_labels_default_value);
	zend_string *property_labels_name = zend_string_init("labels", sizeof("labels") - 1, 1);
	zend_declare_typed_property(class_entry, property_labels_name, &property_labels_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_ARRAY));
	zend_string_release(property_labels_name);

	zend_string *property_was_class_Safestart_Change = zend_string_init("Safestart\\Change", sizeof("Safestart\\Change")-1, 1);
	zval property_was_default_value;
	ZVAL_NULL(&property_was_default_value);
	zend_string *property_was_name = zend_string_init("was", sizeof("was") - 1, 1);
	zend_declare_typed_property(class_entry, property_was_name, &property_was_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_CLASS(property_was_class_Safestart_Change, 0, MAY_BE_NULL));
	zend_string_release(property_was_name);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_Outcome(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "Outcome", class_Safestart_Outcome_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	zend_string *property_verdict_class_Safestart_Verdict = zend_string_init("Safestart\\Verdict", sizeof("Safestart\\Verdict")-1, 1);
	zval property_verdict_default_value;
	ZVAL_UNDEF(&property_verdict_default_value);
	zend_string *property_verdict_name = zend_string_init("verdict", sizeof("verdict") - 1, 1);
	zend_declare_typed_property(class_entry, property_verdict_name, &property_verdict_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_CLASS(property_verdict_class_Safestart_Verdict, 0, 0));
	zend_string_release(property_verdict_name);

	zval property_code_default_value;
	ZVAL_UNDEF(&property_code_default_value);
	zend_string *property_code_name = zend_string_init("code", sizeof("code") - 1, 1);
	zend_declare_typed_property(class_entry, property_code_name, &property_code_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_code_name);

	zval property_message_default_value;
	ZVAL_UNDEF(&property_message_default_value);
	zend_string *property_message_name = zend_string_init("message", sizeof("message") - 1, 1);
	zend_declare_typed_property(class_entry, property_message_name, &property_message_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_message_name);

	zval property_run_default_value;
	ZVAL_UNDEF(&property_run_default_value);
	zend_string *property_run_name = zend_string_init("run", sizeof("run") - 1, 1);
	zend_declare_typed_property(class_entry, property_run_name, &property_run_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_run_name);

	zval property_generation_default_value;
	ZVAL_UNDEF(&property_generation_default_value);
	zend_string *property_generation_name = zend_string_init("generation", sizeof("generation") - 1, 1);
	zend_declare_typed_property(class_entry, property_generation_name, &property_generation_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_generation_name);

	zval property_requests_default_value;
	ZVAL_UNDEF(&property_requests_default_value);
	zend_string *property_requests_name = zend_string_init("requests", sizeof("requests") - 1, 1);
	zend_declare_typed_property(class_entry, property_requests_name, &property_requests_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_requests_name);

	zval property_attempts_default_value;
	ZVAL_UNDEF(&property_attempts_default_value);
	zend_string *property_attempts_name = zend_string_init("attempts", sizeof("attempts") - 1, 1);
	zend_declare_typed_property(class_entry, property_attempts_name, &property_attempts_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_attempts_name);

	zval property_quarantined_default_value;
	ZVAL_UNDEF(&property_quarantined_default_value);
	zend_string *property_quarantined_name = zend_string_init("quarantined", sizeof("quarantined") - 1, 1);
	zend_declare_typed_property(class_entry, property_quarantined_name, &property_quarantined_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_quarantined_name);

	zval property_ticket_default_value;
	ZVAL_UNDEF(&property_ticket_default_value);
	zend_string *property_ticket_name = zend_string_init("ticket", sizeof("ticket") - 1, 1);
	zend_declare_typed_property(class_entry, property_ticket_name, &property_ticket_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_ticket_name);

	zval property_status_default_value;
	ZVAL_UNDEF(&property_status_default_value);
	zend_string *property_status_name = zend_string_init("status", sizeof("status") - 1, 1);
	zend_declare_typed_property(class_entry, property_status_name, &property_status_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_status_name);

	zval property_pid_default_value;
	ZVAL_UNDEF(&property_pid_default_value);
	zend_string *property_pid_name = zend_string_init("pid", sizeof("pid") - 1, 1);
	zend_declare_typed_property(class_entry, property_pid_name, &property_pid_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_LONG));
	zend_string_release(property_pid_name);

	return class_entry;
}

static zend_class_entry *register_class_Safestart_State(void)
{
	zend_class_entry ce, *class_entry;

	INIT_NS_CLASS_ENTRY(ce, "Safestart", "State", class_Safestart_State_methods);
	class_entry = zend_register_internal_class_ex(&ce, NULL);
	class_entry->ce_flags |= ZEND_ACC_FINAL;

	zend_string *property_state_class_Safestart_NodeState = zend_string_init("Safestart\\\116odeState", sizeof("Safestart\\\116odeState")-1, 1);
	zval property_state_default_value;
	ZVAL_UNDEF(&property_state_default_value);
	zend_string *property_state_name = zend_string_init("state", sizeof("state") - 1, 1);
	zend_declare_typed_property(class_entry, property_state_name, &property_state_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_CLASS(property_state_class_Safestart_NodeState, 0, 0));
	zend_string_release(property_state_name);

	zval property_why_default_value;
	ZVAL_UNDEF(&property_why_default_value);
	zend_string *property_why_name = zend_string_init("why", sizeof("why") - 1, 1);
	zend_declare_typed_property(class_entry, property_why_name, &property_why_default_value, ZEND_ACC_PUBLIC, NULL, (zend_type) ZEND_TYPE_INIT_MASK(MAY_BE_STRING));
	zend_string_release(property_why_name);

	return class_entry;
}
