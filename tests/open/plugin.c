/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugin.h"

struct plugin plugin_functions(void)
{
	return functions_of_this_copy();
}
