// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

/** What the library refuses, in its own words. */
public final class SafestartException extends RuntimeException {
    private static final long serialVersionUID = 1;
    static final int ENOENT = -2;
    static final int EIO = -5;
    static final int EAGAIN = -11;
    static final int ENOMEM = -12;
    static final int EINVAL = -22;
    static final int ENODATA = -61;
    static final int ETIMEDOUT = -110;
    static final int ESTALE = -116;
    static final int ECANCELED = -125;

    private final int errno;

    SafestartException(int errno, String message) {
        super(message);
        this.errno = errno;
    }

    /** Negative, as in the library: -22 is EINVAL. */
    public int errno() {
        return errno;
    }
}
