// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.concurrent.atomic.AtomicBoolean;

/** The live nodes, none of which is retired before this is closed: see {@link Safestart#hold()}. */
public final class Held implements AutoCloseable {
    private final NodeSet nodes;
    private final AtomicBoolean closed = new AtomicBoolean();

    Held(NodeSet nodes) {
        this.nodes = nodes;
    }

    /** The nodes that are held. */
    public NodeSet nodes() {
        return nodes;
    }

    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            nodes.letGo();
        }
    }
}
