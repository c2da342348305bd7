// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** The library's functions. Strings are UTF-8; results are -errno; handles, runs and snapshots are addresses, which the callers guard. */
final class Native {
    static {
        load();
    }

    private Native() {}

    /** What the jar carries is copied out, and removed as soon as it is loaded. */
    private static void load() {
        String name = "linux-" + System.getProperty("os.arch") + "/libsafestart_jni.so";
        try (InputStream library = Native.class.getResourceAsStream(name)) {
            if (library == null) {
                throw new UnsatisfiedLinkError("this jar was not built for " + name);
            }
            Path file = Files.createTempFile("libsafestart_jni", ".so");
            try {
                Files.copy(library, file, StandardCopyOption.REPLACE_EXISTING);
                System.load(file.toString());
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw (Error) new UnsatisfiedLinkError("cannot copy " + name + " out of the jar: " + e).initCause(e);
        }
    }

    static byte[] bytes(String text) {
        if (text == null) {
            return null;
        }
        if (text.indexOf('\0') >= 0) {
            throw new SafestartException(SafestartException.EINVAL, "a string has a NUL character in it");
        }
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** What the library makes: null means that it had no memory for it. */
    static String text(byte[] bytes) {
        if (bytes == null) {
            throw new OutOfMemoryError("libsafestart is out of memory");
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** The result, unless it is an error; `why` has its words, if it has any. */
    static long check(long result, byte[]... why) {
        if (result >= 0) {
            return result;
        }
        byte[] words = why.length > 0 && why[0] != null && why[0].length > 0 ? why[0] : strerror((int) result);
        throw new SafestartException((int) result, text(words));
    }

    static native byte[] version();

    static native byte[] strerror(int error);

    static native long open(byte[][] settings, byte[][] why);

    static native int close(long handle);

    static native int shutdown(long handle);

    static native void poll(long handle);

    static native void wake(long handle);

    static native int nextEvent(long handle, long[] numbers, byte[][] text);

    static native int afterForkSet(long handle, byte[] key, byte[] value, byte[][] why);

    static native int afterFork(long handle);

    static native long request(long handle, int flags, byte[] reason);

    static native long replace(long handle, byte[] json, byte[][] why);

    static native long announce(long handle, byte[] id, byte[] address, byte[] incarnation);

    static native long withdraw(long handle, byte[] id);

    static native int tryWait(long handle, long ticket, long[] numbers, byte[][] message);

    static native int ready(long handle);

    static native int state(long handle, byte[] id, byte[][] why);

    static native byte[] status(long handle);

    static native byte[] metrics(long handle);

    static native long generation(long handle);

    static native long acquire(long handle);

    static native void release(long snapshot);

    static native long candidate(long run);

    static native byte[] nodes(long snapshot);

    static native long[] keys(long snapshot);

    static native void report(long snapshot, int index, int error);

    static native byte[] runChanges(long run);

    static native int runReject(long run, byte[] id, byte[] reason);

    static native int runSetNodeKey(long run, byte[] id, long key);

    static native int runSetKey(long run, long key);

    static native void runSetStatus(long run, int status);

    static native void runFinish(long run, int error, byte[] message);
}
