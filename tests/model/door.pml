/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door, the loop and a run, for spin: threads that make requests (one makes two, one may be stopped for ever before it
 * has woken the loop), a signal handler that interrupts one of them or the loop and makes a request too, the worker, a shutdown;
 * every thread waits for its tickets. tests/model/run checks it, and that the check fails when the door is broken on purpose.
 *
 * How it corresponds to the library:
 *
 *   here                 there
 *   enter()              request_enter(): the load, then request_join(); its compare-and-swap loop is one step, because a failed
 *                        iteration leaves nothing behind
 *   crowded              65535 were counted: at any moment after a request has joined
 *   drain()              drain(): every thread passes a full barrier
 *   wake_if_needed()     its last lines, request_wake(); the eventfd is readable or it is not
 *   loop: asleep         loop_wait(): takes the eventfd's edge before it checks anything; the timer expires at any time when it is armed
 *   loop: finished       take_finished(), run_done(), answer_run(): gate_ended(), record_locked()
 *   loop: look           look(): request_look() and gate_tick(), start_run(), request_listen()
 *   start_run()          start_run(): run_new() or gate_not_started(), request_close(), the locked section, dispatch_post()
 *   loop: settle         settle_down(): answer_cancel_tickets_locked()
 *   worker               advance(): step_begin(), gather, commit(); serve(): finished, and then a turn (here: a wake-up) of its own
 *   shutdown             safestart_shutdown(): request_shut(), step_cancel_locked(), answer_cancel_tickets_locked(), the wake-up
 *   answer_up_to()       ticket_answer()
 *   the gate             gate_tick() without times: a run starts now, or the loop is deaf until the timer or the end of the run, or
 *                        it listens. test_gate_states.c tests the gate's times
 *
 * Sections under the handle's lock are one step where they read the word at most once; `locked` is for the others.
 * Left out: reasons, the value of the count, deadlines and LATER (such a run is answered like one that ended), fork.
 *
 * spin is sequentially consistent, so weaker memory is modelled by hand: what a thread wrote before its request stays in its
 * store buffer until it does a read-modify-write, or until the buffer drains by itself at any later time. A load that is
 * carried out before other threads see an earlier store is the same.
 *
 * A request is a bit: in memory, once what its thread wrote is visible; in members[], at the ticket that it got.
 *
 * Parts: TWICE, HANDLER, STOPPED, SHUTDOWN, TROUBLE (no memory for a run once, and one retry). Broken on purpose: see run. */

#define LOOP 2
#define CPUS 3
#define TICKETS 6
#define NOBODY 255

/* The requests, by their thread. */
#define FIRST 1
#define SECOND 2
#define OTHER 4
#define SIGNAL 8

#ifdef HANDLER
#define UNLESS_INTERRUPTED provided (interrupted != _pid)
#else
#define UNLESS_INTERRUPTED
#endif

byte process[CPUS];        /* the processes that the handler may interrupt */
byte interrupted = NOBODY; /* the one that it interrupts */

/* The word. */
byte sequence = 1;
bool pending, seen, fresh, shut, crowded;

byte buffer[CPUS]; /* store buffers */
byte memory;       /* what every thread sees */

bool woken, armed; /* the eventfd, the timer */
bool locked;       /* the handle's lock; it guards: */
bool in_run, cancelled, committed;
byte run_ticket;
byte answered;
bool posted, finished; /* the worker's */

/* Not in the library: for the promises that are checked. */
byte members[TICKETS];
byte since_close;           /* accepted since the last batch was closed */
byte begun, saw;            /* the run's members when it began to gather; what it saw */
byte highest;               /* ticket that was answered */
byte owed;                  /* requests with a ticket and without an outcome yet */
bool hurry, hurry_returned; /* an urgent request that the loop has not seen; and its thread has finished its steps */
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

/* Of every thread at once, as far as one can see from outside. */
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
		:: pending -> crowded = true /* by many more requests, which are not modelled */
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

/* ---- Threads that make requests ---- */

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
	/* safestart_wait(): a process that is still here at the end was forgotten. */
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
/* On the stack and store buffer of another process, which continues only when it has returned. */
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
	/* A handler must not wait: another process waits, with its ticket. */
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
/* Time passes even when nothing happens any more. */
active proctype clock()
{
	bool tick;

	do
	:: tick = !tick
	od
}

/* With weak fairness: every ticket is answered some time. */
ltl answered_in_the_end { <> [] (owed == 0) }
#endif
