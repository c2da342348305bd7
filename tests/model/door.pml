/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door, the loop and a run, for spin: threads that ask (one twice, one may be stopped for ever before it has woken the
 * loop), a signal handler that interrupts one of them or the loop and asks as well, the worker, a shutdown, and everybody
 * waits for his tickets. tests/model/run checks it, and that the check fails when the door is broken on purpose.
 *
 * How it corresponds to the library:
 *
 *   here                 there
 *   enter()              request_enter(): the load, then request_join(); its compare-and-swap loop is one step, for a failed turn of
 *                        it leaves nothing behind
 *   crowded              65535 were counted: any moment after somebody has joined
 *   drain()              drain(): every thread passes a full barrier
 *   wake_if_needed()     its last lines, request_wake(); the eventfd is readable or it is not
 *   loop: asleep         loop_wait(): the eventfd's edge is taken before anything is looked at; the timer goes off any time it is armed
 *   loop: finished       take_finished(), run_done(), answer_run(): gate_ended(), record_locked()
 *   loop: look           look(): request_look() and gate_tick(), start_run(), request_listen()
 *   start_run()          start_run(): run_new() or gate_not_started(), request_close(), the locked section, dispatch_post()
 *   loop: settle         settle_down(): answer_cancel_tickets_locked()
 *   worker               advance(): step_begin(), gather, commit(); serve(): finished, and then a turn (here: a wake-up) of its own
 *   shutdown             safestart_shutdown(): request_shut(), step_cancel_locked(), answer_cancel_tickets_locked(), the wake-up
 *   answer_up_to()       ticket_answer()
 *   the gate             gate_tick() without times: a run starts now, or the loop is deaf until the timer or the end of the run, or
 *                        it listens. What the gate does with times is for test_gate_states.c
 *
 * Sections under the handle's lock are one step where they read the word at most once; `locked` is for the others.
 * Left out: reasons and what the count is, deadlines and LATER (such a run is answered like one that ended), fork.
 *
 * spin is sequentially consistent, so the memory that is not is made by hand: what a thread wrote before it asked stays in its
 * store buffer until it does a read-modify-write, or until the buffer drains by itself, any time later. A load that is
 * answered before an earlier store is seen by others is the same thing.
 *
 * A request is a bit: in memory, when what its maker wrote is visible; in members[], of the ticket it got.
 *
 * Parts: TWICE, HANDLER, STOPPED, SHUTDOWN, TROUBLE (no memory for a run once, and one retry). Broken on purpose: see run. */

#define LOOP 2
#define CPUS 3
#define TICKETS 6
#define NOBODY 255

/* Who asks. */
#define FIRST 1
#define SECOND 2
#define OTHER 4
#define SIGNAL 8

#ifdef HANDLER
#define UNLESS_INTERRUPTED provided (interrupted != _pid)
#else
#define UNLESS_INTERRUPTED
#endif

byte process[CPUS];        /* whom the handler may interrupt */
byte interrupted = NOBODY; /* whom it does */

/* The word. */
byte sequence = 1;
bool pending, seen, fresh, shut, crowded;

byte buffer[CPUS]; /* store buffers */
byte memory;       /* what everybody sees */

bool woken, armed; /* the eventfd, the timer */
bool locked;       /* the handle's lock; it guards: */
bool in_run, cancelled, committed;
byte run_ticket;
byte answered;
bool posted, finished; /* the worker's */

/* Not in the library: what the promises are about. */
byte members[TICKETS];
byte since_close;           /* accepted since the last batch was closed */
byte begun, saw;            /* the run's members when it began to gather; what it saw */
byte highest;               /* ticket that was answered */
byte owed;                  /* their makers have a ticket in hand, and no answer yet */
bool hurry, hurry_returned; /* an urgent request the loop has not looked at; and its maker has done all he does */
bool own_batch;             /* the run has closed one */
byte runs;                  /* carried out at this moment */

#ifdef LOAD_ALWAYS
#define LOAD_DOES true
#else
#define LOAD_DOES crowded
#endif

/* A read-modify-write is a release: what was written before is visible with it. */
inline barrier(cpu)
{
#ifdef NO_RELEASE
	skip
#else
	memory = memory | buffer[cpu];
	buffer[cpu] = 0
#endif
}

/* Of every thread at once, for all that can be told from outside. */
inline drain()
{
	d_step {
		memory = memory | buffer[0] | buffer[1] | buffer[LOOP];
		buffer[0] = 0;
		buffer[1] = 0;
		buffer[LOOP] = 0
	}
}

inline join(request)
{
	ticket = sequence;
	members[sequence] = members[sequence] | request;
	since_close = since_close | request;
	hurry = hurry || urgent
}

inline enter(cpu, request, may_hurry)
{
	atomic {
		buffer[cpu] = buffer[cpu] | request;
		if
		:: urgent = false
		:: may_hurry -> urgent = true
		fi;
		if
		:: true
		:: pending -> crowded = true /* by many more, who are not looked at */
		fi
	};
	/* Joining would change nothing. One load, no barrier. */
	d_step {
		if
		:: LOAD_DOES && !shut && pending && fresh && seen && !urgent -> join(request); quiet = true
		:: else
		fi
	};
#ifdef WAKE_BEFORE
	woken = true;
#endif
#ifdef PLAIN_STORE
	d_step { plain_sequence = sequence; plain_shut = shut };
#endif
	d_step {
		if
		:: ticket != 0 /* by a load */
		:: else ->
			barrier(cpu);
			if
			:: shut -> quiet = true
			:: else ->
#ifdef PLAIN_STORE
				sequence = plain_sequence;
				shut = plain_shut;
#endif
#if defined(WAKE_BEFORE)
				quiet = true;
#elif defined(WAKE_FIRST)
				quiet = pending && !urgent;
#elif defined(URGENT_QUIET)
				quiet = seen;
#else
				quiet = seen && !urgent;
#endif
				join(request);
				pending = true;
				fresh = true
			fi
		fi
	}
}

inline wake_if_needed(request)
{
	d_step {
		woken = woken || !quiet;
		hurry_returned = hurry_returned || (urgent && hurry);
		if
		:: ticket > answered -> owed = owed | request
		:: else
		fi;
		urgent = false;
		quiet = false
	}
}

#define ASKING byte ticket; bool urgent, quiet
#ifdef PLAIN_STORE
#define PLAIN byte plain_sequence; bool plain_shut
#else
#define PLAIN skip
#endif

/* ---- Who asks ---- */

proctype thread_0() UNLESS_INTERRUPTED
{
	ASKING;
	PLAIN;

	enter(0, FIRST, false);
	wake_if_needed(FIRST);
#ifdef TWICE
	ticket = 0;
	enter(0, SECOND, false);
	wake_if_needed(SECOND);
#endif
	/* safestart_wait(): whoever is left here at the end of all things was forgotten. */
	atomic { ticket <= answered; ticket = 0 }
}

proctype thread_1() UNLESS_INTERRUPTED
{
	ASKING;
	PLAIN;

	enter(1, OTHER, true);
#ifdef STOPPED
	if
	:: goto stopped
	:: true
	fi;
#endif
	wake_if_needed(OTHER);
	ticket <= answered;
stopped:
	ticket = 0
}

#ifdef HANDLER
/* On another's stack and store buffer; he goes on only when it has returned. */
proctype handler()
{
	ASKING;
	PLAIN;
	byte cpu;

	atomic {
		if
		:: cpu = 0
		:: cpu = LOOP
		fi;
		interrupted = process[cpu]
	};
	enter(cpu, SIGNAL, true);
	atomic {
		wake_if_needed(SIGNAL);
		cpu = 0;
		interrupted = NOBODY
	};
	/* A handler must not wait: this is somebody else, with its ticket. */
	atomic { ticket <= answered; ticket = 0 }
}
#endif

/* Store buffers drain by themselves, some time. */
proctype bus()
{
end:
	do
	:: d_step { buffer[0] != 0 -> memory = memory | buffer[0]; buffer[0] = 0 }
	:: d_step { buffer[1] != 0 -> memory = memory | buffer[1]; buffer[1] = 0 }
	:: d_step { buffer[LOOP] != 0 -> memory = memory | buffer[LOOP]; buffer[LOOP] = 0 }
	od
}

#include "loop.pml"

init {
	atomic {
		process[0] = run thread_0();
		process[1] = run thread_1();
		process[LOOP] = run loop();
		run bus();
		run worker();
#ifdef HANDLER
		run handler();
#endif
#ifdef SHUTDOWN
		if
		:: run shutdown()
		:: true
		fi;
#endif
		woken = true /* safestart_open() */
	}
}

#ifdef LIVENESS
/* Time goes on also when nothing happens any more. */
active proctype clock()
{
	bool tick;

	do
	:: tick = !tick
	od
}

/* With weak fairness: whoever got a ticket is answered some time. */
ltl answered_in_the_end { <> [] (owed == 0) }
#endif
