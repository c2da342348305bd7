dnl SPDX-License-Identifier: LGPL-2.1-or-later
PHP_ARG_ENABLE([safestart], [whether to enable safestart], [AS_HELP_STRING([--enable-safestart], [Enable libsafestart])], [yes])

if test "$PHP_SAFESTART" != "no"; then
  PKG_CHECK_MODULES([SAFESTART], [libsafestart >= 1.0.0])
  PHP_EVAL_INCLINE($SAFESTART_CFLAGS)
  PHP_EVAL_LIBLINE($SAFESTART_LIBS, SAFESTART_SHARED_LIBADD)
  PHP_SUBST(SAFESTART_SHARED_LIBADD)
  PHP_NEW_EXTENSION(safestart, safestart.c handle.c nodes.c run.c events.c, $ext_shared,, -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
fi
