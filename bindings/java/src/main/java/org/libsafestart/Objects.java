// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * The application's objects that hang on nodes and on generations. The library knows a number for each place where one hangs, and says
 * when no reader can see that place any more; an object that is at no place any more is closed.
 */
final class Objects {
    private final Map<Long, Object> byKey = new HashMap<>(); // guarded by this
    private final Map<Object, Integer> places = new IdentityHashMap<>(); // how many keys each has; guarded by this
    private final Consumer<Exception> failed;
    private long newest;

    /** failed: what close() of an object threw. */
    Objects(Consumer<Exception> failed) {
        this.failed = failed;
    }

    /** The key of a new place; 0 for no object. */
    synchronized long add(Object object) {
        if (object == null) {
            return 0;
        }
        byKey.put(++newest, object);
        places.merge(object, 1, Integer::sum);
        return newest;
    }

    synchronized Object get(long key) {
        return byKey.get(key);
    }

    /** Takes an object from a place. Returns it if this was its last one, else null. */
    synchronized Object take(long key) {
        Object object = byKey.remove(key);
        if (object == null) {
            return null;
        }
        return places.computeIfPresent(object, (same, count) -> count == 1 ? null : count - 1) == null ? object : null;
    }

    /** No lock is held across close(). */
    void retire(long key) {
        if (take(key) instanceof AutoCloseable object) {
            try {
                object.close();
            } catch (Exception e) {
                failed.accept(e);
            }
        }
    }

    void retireAll() {
        List<Long> keys;
        synchronized (this) {
            keys = List.copyOf(byKey.keySet());
        }
        keys.forEach(this::retire);
    }
}
