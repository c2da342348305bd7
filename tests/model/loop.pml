/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other half of door.pml: answers, the loop, the worker, a shutdown. */

/* ---- Answers, under the lock ---- */

inline answer_up_to(last)
{
#ifdef ANSWER_TWICE
	if
	:: answered == last && last > 0 -> answered = last - 1
	:: else
	fi;
#endif
	do
	:: answered < last ->
		answered++;
		assert(answered > highest); /* P6: one answer */
		highest = answered;
		owed = owed & ~members[answered];
		since_close = since_close & ~members[answered];
		members[answered] = 0
	:: else -> break
	od
}

/* A run that has not been cancelled answers for itself. */
inline cancel_tickets(issued)
{
	if
	:: in_run && !cancelled
	:: else ->
		assert(!(in_run && own_batch && committed && run_ticket > answered)); /* P6: the true answer */
		answer_up_to(issued)
	fi;
	issued = 0;
	locked = false
}

/* ---- The loop ---- */

inline close_batch()
{
	d_step {
		barrier(LOOP);
		assert(pending || was_due); /* P3: a run for nothing */
		own_batch = pending;
		if
		:: pending ->
			assert(members[sequence] == since_close); /* P3: all of a window have one ticket */
			run_ticket = sequence;
			since_close = 0;
			assert(sequence < TICKETS - 1);
			sequence++;
			pending = false;
			seen = false;
			was_crowded = crowded;
			crowded = false;
#ifndef FRESH_KEPT
			fresh = false
#endif
		:: else -> run_ticket = sequence - 1
		fi
	}
}

inline drain_if_crowded()
{
	if
	:: was_crowded -> drain(); was_crowded = false
	:: else
	fi
}

inline start_run()
{
	running = true;
	wanted = false;
	was_due = due;
	due = false;
#ifdef CLEAR_AFTER_GATHER
	run_ticket = (pending -> sequence : sequence - 1);
#else
#ifdef DRAIN_EARLY
	was_crowded = crowded;
	drain_if_crowded();
#endif
	close_batch();
#endif
#if defined(NO_DRAIN) || defined(DRAIN_EARLY)
	was_crowded = false;
#elif !defined(DRAIN_LATE)
	drain_if_crowded();
#endif
	atomic {
		!locked ->
		assert(!in_run); /* P1 */
		in_run = true;
#ifndef SHUT_UNSEEN
		cancelled = shut;
#endif
		posted = true
	}
#ifdef DRAIN_LATE
	drain_if_crowded()
#endif
}

inline answer_run()
{
	if
	:: cancelled
	:: else ->
		assert(committed);
		assert(!own_batch || answered == run_ticket - 1); /* P6: neither answered before, nor for another run */
		assert(!own_batch || begun == members[run_ticket]); /* P2: it began to gather after they were accepted, */
		assert((members[run_ticket] & ~saw) == 0);          /* P2: and saw what they wrote */
	fi;
	answer_up_to(run_ticket);
	running = false;
	finished = false;
	in_run = false;
	cancelled = false;
	committed = false;
	own_batch = false;
	begun = 0;
	saw = 0;
	run_ticket = 0
}

proctype loop() UNLESS_INTERRUPTED
{
	bool timer, running, wanted, was_due, due, heard, deaf, was_crowded;
	byte issued;
#ifdef TROUBLE
	bool no_memory = true, retry = true;
#endif

	if
	:: due = true /* a first load */
	:: true
	fi;
asleep:
end:
	if
	:: atomic {
		woken ->
#ifndef EMPTY_LATE
		woken = false
#endif
	   }
	:: atomic { /* it takes its time: what is urgent must not need it */
		armed && !(hurry && hurry_returned) ->
		timer = true
	   }
	fi;

#ifdef CLEAR_AFTER_GATHER
	if
	:: finished && run_ticket == sequence -> close_batch()
	:: else
	fi;
#endif
	atomic { /* finished */
		armed = false;
		if
		:: finished ->
			!locked;
#ifdef TROUBLE
			if
			:: retry && !cancelled -> retry = false; due = true
			:: true
			fi;
#endif
			answer_run()
		:: else
		fi
	};
	if
	:: shut -> goto settle
	:: else
	fi;

look:
	deaf = false;
	atomic {
		barrier(LOOP);
		heard = fresh;
		fresh = false;
		seen = true;
		hurry = false;
		hurry_returned = false;
		wanted = wanted || heard;
		if
		:: !wanted && (running || !due) /* nothing to wait for */
#ifdef NOT_HELD
		:: wanted || due -> goto start
#else
		:: !running && (wanted || due) -> goto start
#endif
#ifdef TROUBLE
		:: no_memory && !running && (wanted || due) -> /* the batch stays open */
			no_memory = false;
			wanted = false;
			due = true
#endif
		:: !running && (wanted || due) && (heard || !timer) -> /* not yet */
			armed = true;
			if
			:: wanted -> deaf = true
			:: true
			fi
		:: running && wanted ->
			if
			:: deaf = true; armed = heard || !timer /* looks every quarter of the debounce */
			:: deaf = true                          /* nothing moves the start any more */
			:: true                                 /* quiet: the next one moves it */
			fi
		fi;
		goto ticked
	};
start:
	start_run();
ticked:
	atomic {
		armed = armed || (!running && due);
		heard = false;
		timer = false;
		was_due = false
#ifdef DEAF_WHEN_IDLE
		;
		deaf = deaf || !wanted
#endif
	};
	if
	:: deaf
	:: else ->
		d_step {
			barrier(LOOP);
			seen = false;
			heard = fresh
		};
#ifndef NO_SEEN
		if
		:: heard -> armed = false; goto look
		:: else
		fi
#endif
	fi;

settle:
#ifdef EMPTY_LATE
	woken = false;
#endif
	if
	:: shut ->
		atomic { /* only we change the word now */
			!locked ->
			timer = false;
			deaf = false;
			wanted = false;
			due = false;
			armed = false;
			issued = (pending -> sequence : sequence - 1);
			cancel_tickets(issued)
		}
	:: else
	fi;
	goto asleep
}

/* ---- The worker ---- */

proctype worker()
{
end:
	do
	:: atomic {
		posted && !locked ->
		posted = false;
		runs++;
		assert(runs == 1); /* P1 */
#ifndef SHUT_UNSEEN
		cancelled = cancelled || shut;
#endif
		if
		:: !cancelled -> begun = members[run_ticket]; saw = memory /* the earliest moment: gather takes its time */
		:: else
		fi
	   };
	   atomic { !locked -> committed = !cancelled };
	   d_step { runs--; finished = true; woken = true }
	od
}

#ifdef SHUTDOWN
proctype shutdown()
{
	byte issued;

	shut = true;
	atomic {
		!locked ->
		locked = true;
#ifdef CANCEL_COMMITTED
		cancelled = in_run
#else
		cancelled = cancelled || (in_run && !committed)
#endif
	};
	d_step { issued = (pending -> sequence : sequence - 1) };
	d_step { cancel_tickets(issued) };
	woken = true
}
#endif
