/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events=pull: what becomes of one run of which the application is asked (run/pull.c, run/step.c), while its deadline, a shutdown and
 * close come at any moment (NO_CLOSE: close never does), and the application takes, finishes, or does nothing at all. A step in braces
 * is one that the handle's lock makes one. Breaks: ASK_ANYWAY, NO_WITHDRAW, NO_ABANDON, ABANDON_FIRST, KEEP_ASKED,
 * KEEP_CANCELLED. */

bool asked, waiting;    /* PREPARE was put into the mailbox; it is in it */
bool cancelled_waiting; /* CANCELLED is in it */
bool gave_up;           /* RUN_EXPIRED or RUN_CANCELLED */
bool called;            /* RUN_CALLED */
bool parked;            /* RUN_LATER without RUN_CALLED */
bool over, freed;
bool abandons, closing; /* close has begun: the application may not use the run any more */
bool has_run;           /* the application does */

inline end_call()
{
	called = true;
#ifndef KEEP_ASKED
	waiting = false;
#endif
#ifndef KEEP_CANCELLED
	cancelled_waiting = false
#endif
}

inline tell_pointless()
{
	if
	:: !asked || called
	:: asked && !called && waiting ->
#ifndef NO_WITHDRAW
		end_call()
#endif
	:: asked && !called && !waiting -> cancelled_waiting = true
	fi
}

inline give_up()
{
	if
	:: gave_up
	:: else -> gave_up = true; tell_pointless()
	fi
}

active proctype worker()
{
	bool later;

	atomic {
		if
#ifndef ASK_ANYWAY
		:: gave_up
#endif
		:: else -> asked = true; waiting = true; later = true
		fi
	}
	atomic {
		if
		:: later && !called -> parked = true
		:: else -> over = true
		fi
	}
}

active proctype application()
{
end:	do
	:: atomic {waiting && !closing -> waiting = false; has_run = true}
	:: atomic {cancelled_waiting && !closing -> assert(has_run && !freed); cancelled_waiting = false}
	:: atomic {has_run && !closing -> assert(!freed && !called); has_run = false; end_call()}
	:: break /* it does nothing any more */
	od
}

active proctype deadline()
{
	atomic {give_up()};
	over || has_run /* P14: what nobody has taken ends by itself */
}

active proctype loop()
{
end:	do
	:: atomic {
#ifdef NO_ABANDON
			parked && called ->
#else
			parked && (called || abandons) ->
#endif
			if
			:: called
			:: else -> assert(gave_up); end_call() /* P9: nobody has finished it, so it must not go on */
			fi;
			parked = false;
			over = true
		}
	:: atomic {over && !freed -> assert(!waiting && !cancelled_waiting); freed = true}
	:: freed -> break
	od
}

#ifndef NO_CLOSE
active proctype close()
{
	closing = true;
#ifdef ABANDON_FIRST
	atomic {abandons = true};
#endif
	atomic {give_up()};
	abandons = true;
	freed
}
#endif
