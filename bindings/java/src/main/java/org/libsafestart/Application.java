// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

/** What an application does in a run. What it does not need it leaves out. */
public interface Application {
    /**
     * Connect to what is new. Nothing is live yet: an exception leaves everything as it was, and is told in the outcome. On a daemon
     * thread of the handle, which is interrupted when going on is pointless, because the deadline ({@code run_timeout}) has passed or
     * the handle was shut down.
     */
    default void prepare(Run run) throws Exception {}

    /** Reload what else needs it, after the new set went live. On the same thread. */
    default void restart(Run run) throws Exception {}

    /** A run has ended, requested or not. On the thread that takes the events: it should not block. */
    default void outcome(Outcome outcome) {}
}
