// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

/**
 * How a run ended, and with it every request that it covered.
 *
 * @param verdict how it ended
 * @param message in words: what happened, what to do, when it is retried
 * @param error 0, or -errno
 * @param run which run; 0: none, the handle was shut down before
 * @param generation the generation that was live when it ended
 * @param requests how many it covered
 * @param attempts runs in a row that tried this set, this one included
 * @param quarantined entries left out as unusable or rejected
 * @param ticket this ticket and every older one is answered
 * @param status what {@code restart} set, else 0
 * @param pid the process that made the run; with lock_share perhaps another one
 * @param merged in {@link Application#outcome}: so many outcomes directly before this one were left out
 */
public record Outcome(
        Verdict verdict,
        String message,
        int error,
        long run,
        long generation,
        long requests,
        int attempts,
        int quarantined,
        long ticket,
        int status,
        int pid,
        long merged) {

    /** How a run ended. */
    public enum Verdict {
        /** A new generation is live, or {@code restart} was carried out. */
        APPLIED,
        /** The live set already is this one. */
        UNCHANGED,
        /** Malformed, or a guard rail: no retry until the input changes. */
        REFUSED,
        /** The source, {@code prepare} or {@code restart} failed: retried in the background. */
        FAILED,
        /** It took longer than {@code run_timeout}: retried in the background. */
        TIMED_OUT,
        /** The handle was shut down. */
        CANCELLED;

        private static final Verdict[] ALL = values();
    }

    static final int NUMBERS = 11;

    /** In the order of native.c. */
    static Outcome of(long[] numbers, int from, String message) {
        return new Outcome(
                Verdict.ALL[(int) numbers[from]],
                message,
                (int) numbers[from + 1],
                numbers[from + 2],
                numbers[from + 3],
                numbers[from + 4],
                (int) numbers[from + 5],
                (int) numbers[from + 6],
                numbers[from + 7],
                (int) numbers[from + 8],
                (int) numbers[from + 9],
                numbers[from + 10]);
    }
}
