/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owners of a snapshot count in stripes while it is live, and in `refs` once it is replaced (snapshot/snapshot.c). Two threads acquire
 * and release; a third replaces the snapshot, waits for a grace period, adds the stripes, and drops the live reference. Whoever drops
 * the last one frees it, as after close. Stripes are one sum here: which thread counted where makes no difference to it.
 * Breaks: NO_GRACE, SUM_FIRST, NO_BIAS. */

#define THREADS 2
#ifdef NO_BIAS
#define BIAS 0
#else
#define BIAS 50
#endif

bool inside[THREADS]; /* in a reader's section */
byte live;
bool striped[2] = true;
short refs[2] = 1 + BIAS, stripes[2];
byte owners[2]; /* what is true */
bool freed[2];
byte ended;

inline drop(snapshot)
{
	d_step {
		refs[snapshot] = refs[snapshot] - 1;
		if
		:: refs[snapshot] == 0 ->
			assert(!freed[snapshot] && owners[snapshot] == 0 && live != snapshot); /* P13 */
			freed[snapshot] = true
		:: else
		fi
	}
}

active [THREADS] proctype owner()
{
	byte rounds, mine;
	bool counts_in_stripe;

	do
	:: rounds < 2 ->
		rounds++;
		inside[_pid] = true;
		mine = live;
		counts_in_stripe = striped[mine];
		assert(!freed[mine]);
		if
		:: counts_in_stripe -> stripes[mine] = stripes[mine] + 1
		:: else -> refs[mine] = refs[mine] + 1
		fi;
		owners[mine]++;
		inside[_pid] = false;

		assert(!freed[mine]);
		inside[_pid] = true;
		counts_in_stripe = striped[mine];
		owners[mine]--;
		if
		:: counts_in_stripe -> stripes[mine] = stripes[mine] - 1
		:: else -> drop(mine)
		fi;
		inside[_pid] = false
	:: else -> break
	od;
	ended++
}

inline sum(snapshot)
{
	refs[snapshot] = refs[snapshot] + stripes[snapshot] - BIAS
}

active proctype publisher()
{
	byte thread;

	live = 1;
#ifdef SUM_FIRST
	sum(0);
#endif
	striped[0] = false;
#ifndef NO_GRACE
	do
	:: thread < THREADS -> !inside[thread]; thread++
	:: else -> break
	od;
#endif
#ifndef SUM_FIRST
	sum(0);
#endif
	drop(0);
	ended == THREADS;
	assert(freed[0] && refs[1] + stripes[1] == 1 + BIAS) /* P13, P19 */
}
