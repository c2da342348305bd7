// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.List;

/**
 * A run, as {@code prepare} and {@code restart} see it. It has ended when they have returned, or the handle is closed: then its methods
 * throw ESTALE. Any thread may use it.
 */
public final class Run {
    private final long number;
    private final Objects objects;
    // Guarded by this, so that close() on another thread takes the run away between two calls of the library and not in one.
    private long run;
    private Thread thread; // that is inside; null: none yet, or not any more
    private boolean cancelled;

    Run(long run, long number, Objects objects) {
        this.run = run;
        this.number = number;
        this.objects = objects;
    }

    private long open() {
        if (run == 0) {
            throw new SafestartException(SafestartException.ESTALE, "this run has ended");
        }
        return run;
    }

    /** As in its outcome and in the log. */
    public long number() {
        return number;
    }

    /** How the new set differs from the live one, in the order of ids. Made at each call. */
    public synchronized List<Change> changes() {
        return Change.all(Native.text(Native.runChanges(open())));
    }

    /** The new set; in {@code restart} it is live. Made at each call. */
    public synchronized NodeSet nodes() {
        return new NodeSet(Native.candidate(open()), objects, null);
    }

    /** Leave one added or changed node out; it is quarantined with the reason, and retried. Only in {@code prepare}. */
    public synchronized void reject(String id, String reason) {
        check(Native.runReject(open(), Native.bytes(id), Native.bytes(reason)), "only in prepare, and only an added or changed node");
    }

    /**
     * Hang an object on a node of the new set. A node that does not change keeps it in later generations. When no reader can see it on
     * any node any more, it is closed, if it is AutoCloseable. Only in {@code prepare}.
     */
    public synchronized void setNodeData(String id, Object data) {
        byte[] bytes = Native.bytes(id);
        long key = objects.add(data);
        int result = run == 0 ? SafestartException.ESTALE : Native.runSetNodeKey(run, bytes, key);
        if (result < 0) {
            objects.take(key); // it is the caller's again
            open();
            check(result, "only in prepare");
        }
    }

    /** Hang an object on the generation, likewise. Only in {@code prepare}. */
    public synchronized void setData(Object data) {
        long key = objects.add(data);
        int result = run == 0 ? SafestartException.ESTALE : Native.runSetKey(run, key);
        if (result < 0) {
            // Without memory the library keeps the key, and retires it with the run.
            if (result != SafestartException.ENOMEM) {
                objects.take(key);
            }
            open();
            check(result, "only in prepare");
        }
    }

    /** A number for the outcome's status. Only in {@code restart}. */
    public synchronized void setStatus(int status) {
        Native.runSetStatus(open(), status);
    }

    /** Is it pointless to go on? The thread was interrupted then, too. */
    public synchronized boolean isCancelled() {
        return cancelled;
    }

    private static void check(int result, String invalid) {
        if (result == SafestartException.ENOENT) {
            throw new SafestartException(result, "the new set has no node with this id");
        }
        if (result == SafestartException.EINVAL) {
            throw new SafestartException(result, invalid);
        }
        Native.check(result);
    }

    /** From here on this thread is interrupted when the run is cancelled. */
    synchronized void begin() {
        thread = Thread.currentThread();
        if (cancelled) {
            thread.interrupt();
        }
    }

    synchronized void cancel() {
        cancelled = true;
        if (thread != null) {
            thread.interrupt();
        }
    }

    /** The handle is closed, which finishes the run. */
    synchronized void abandon() {
        run = 0;
        cancel();
    }

    /** With what the application threw, or null. */
    synchronized void finish(Throwable thrown) {
        thread = null;
        Thread.interrupted(); // an interrupt was meant for this run
        if (run == 0) {
            return;
        }
        if (thrown == null) {
            Native.runFinish(run, 0, null);
        } else {
            int error = thrown instanceof SafestartException refused ? refused.errno() : SafestartException.EIO;
            Native.runFinish(run, error, Native.bytes(thrown.toString().replace('\0', '\uFFFD')));
        }
        run = 0;
    }
}
