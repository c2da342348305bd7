// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** One generation: an immutable set of nodes, and the application's data. */
public final class NodeSet implements Iterable<Node> {
    private final long snapshot;
    private final Runnable released; // null: a run's candidate, which is not owned
    private final long generation;
    private final Object data;
    private final List<Node> nodes;
    private final Map<String, Node> byId = new HashMap<>();
    private int holders = 1; // guarded by this; the first one is the handle, as long as the set is live

    NodeSet(long snapshot, Objects objects, Runnable released) {
        List<?> groups = (List<?>) Json.parse(Native.text(Native.nodes(snapshot)));
        long[] keys = Native.keys(snapshot);
        List<Node> all = new ArrayList<>(groups.size());
        for (int i = 0; i < groups.size(); i++) {
            Node node = new Node(this, i, (Map<?, ?>) groups.get(i), objects.get(keys[i + 2]));
            all.add(node);
            byId.put(node.id(), node);
        }
        this.snapshot = snapshot;
        this.released = released;
        this.generation = keys[0];
        this.data = objects.get(keys[1]);
        this.nodes = List.copyOf(all);
    }

    /** Its number; 0: nothing was loaded yet, and the set is empty. */
    public long generation() {
        return generation;
    }

    /** The nodes, in the order of ids. */
    public List<Node> nodes() {
        return nodes;
    }

    /** The node with that id, or null. */
    public Node get(String id) {
        return byId.get(id);
    }

    /** What {@link Run#setData} hung on the generation, or null. */
    public Object data() {
        return data;
    }

    @Override
    public Iterator<Node> iterator() {
        return nodes.iterator();
    }

    /** False: it was given back already. */
    synchronized boolean hold() {
        if (holders == 0) {
            return false;
        }
        holders++;
        return true;
    }

    /** What its nodes hold is retired when the last holder has let go, and no generation has them any more. */
    void letGo() {
        synchronized (this) {
            if (--holders > 0) {
                return;
            }
        }
        Native.release(snapshot);
        released.run();
    }

    synchronized void report(int index, int errno) {
        if (holders > 0 && released != null) {
            Native.report(snapshot, index, errno);
        }
    }
}
