/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* strings: between Ruby and the library, and errors in words. */
#include <errno.h>

#include "ext.h"

_Noreturn void raise_error(int error, const char *why)
{
	const char *words = why != NULL && why[0] != '\0' ? why : safestart_strerror(error);

	rb_exc_raise(rb_funcall(error_class, rb_intern("new"), 2, new_string(words),
				INT2NUM(error < 0 ? -error : error)));
}

int checked(int result, const char *why)
{
	if (result < 0)
		raise_error(result, why);
	return result;
}

const char *utf8(VALUE *string)
{
	StringValue(*string);
	*string = rb_str_export_to_enc(*string, rb_utf8_encoding());
	return StringValueCStr(*string);
}

const char *utf8_or_null(VALUE *string)
{
	return NIL_P(*string) ? NULL : utf8(string);
}

VALUE new_string(const char *text)
{
	return rb_utf8_str_new_cstr(text);
}

VALUE new_frozen_string(const char *text)
{
	return rb_obj_freeze(new_string(text));
}

VALUE take_string(char *text)
{
	if (text == NULL)
		raise_error(-ENOMEM, NULL);
	VALUE string = new_string(text);
	safestart_free(text);
	return string;
}
