/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* invariant: what has to hold inside the library, whatever callers, files and clocks do. Checked in
 * the builds that run tests and fuzzers, where a broken one aborts; in a release it is compiled to
 * nothing, for a library must not end its host. Any thread. Never for input of the caller's: that
 * gets an error. The condition must have no side effect. */
#ifndef SAFESTART_BASE_INVARIANT_H
#define SAFESTART_BASE_INVARIANT_H

#ifdef SAFESTART_INVARIANTS
#define invariant(condition) \
	((condition) ? (void)0 : invariant_broken(#condition, __FILE__, __LINE__, __func__))
#else
#define invariant(condition) ((void)(0 && (condition)))
#endif

/* Says which invariant does not hold, on standard error, and aborts. */
_Noreturn void invariant_broken(const char *condition, const char *file, int line,
				const char *function);

#endif
