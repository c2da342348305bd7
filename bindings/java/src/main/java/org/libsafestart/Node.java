// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketTimeoutException;
import java.util.List;
import java.util.Map;

/** One storage node of a {@link NodeSet}. */
public final class Node {
    private static final int FAILED = 1; // no more is known
    private static final int ETIMEDOUT = 110;
    private static final int ECONNREFUSED = 111;
    private static final int EHOSTUNREACH = 113;

    private final NodeSet set;
    private final int index;
    private final String id;
    private final String host;
    private final int port;
    private final Map<String, String> labels;
    private final Object data;

    /** group: of the library's document, which has one target for each group. */
    Node(NodeSet set, int index, Map<?, ?> group, Object data) {
        String target = (String) ((List<?>) group.get("targets")).get(0);
        int colon = target.lastIndexOf(':');
        String address = target.substring(0, colon);
        Map<String, String> all = Json.strings(group.get("labels"));

        this.set = set;
        this.index = index;
        this.host = address.startsWith("[") ? address.substring(1, colon - 1) : address;
        this.port = Integer.parseInt(target.substring(colon + 1));
        // A node whose id is its address has no label `id`.
        this.id = all.getOrDefault("id", target);
        this.labels = Json.without(all, "id");
        this.data = data;
    }

    /** The node's id. */
    public String id() {
        return id;
    }

    /** A name or an address, an IPv6 address without brackets. */
    public String host() {
        return host;
    }

    /** Its port. */
    public int port() {
        return port;
    }

    /** Its labels, without the id. */
    public Map<String, String> labels() {
        return labels;
    }

    /** What {@link Run#setNodeData} hung on it, or null. */
    public Object data() {
        return data;
    }

    /** As {@link #data()}, cast. */
    public <T> T data(Class<T> type) {
        return type.cast(data);
    }

    /** A real request to this node worked. Too late, when its set is not live and not held any more, a report is ignored. */
    public void report() {
        report(0);
    }

    /** A real request to this node failed. */
    public void report(Throwable failure) {
        if (failure instanceof ConnectException) {
            report(ECONNREFUSED);
        } else if (failure instanceof SocketTimeoutException) {
            report(ETIMEDOUT);
        } else {
            report(failure instanceof NoRouteToHostException ? EHOSTUNREACH : FAILED);
        }
    }

    /** 0: it worked; else an errno, which is shown with the node's state. */
    public void report(int errno) {
        set.report(index, errno);
    }

    @Override
    public String toString() {
        return id;
    }
}
