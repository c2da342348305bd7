// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * How one node of the new set differs from the live set.
 *
 * @param kind what happened to it
 * @param id the node's id
 * @param entry its new entry, of a removed node the live one
 * @param was the live entry of a changed node, else null
 */
public record Change(Kind kind, String id, Entry entry, Entry was) {
    /** What happened to the node. */
    public enum Kind {
        /** Only the new set has it. */
        ADDED,
        /** Only the live set has it. */
        REMOVED,
        /** Its address or a label differs. */
        CHANGED
    }

    /**
     * Where a node is.
     *
     * @param host a name or an address, an IPv6 address without brackets
     * @param port its port
     * @param labels its labels, without the id
     */
    public record Entry(String host, int port, Map<String, String> labels) {
        private static Entry of(Map<?, ?> json) {
            return json == null
                    ? null
                    : new Entry((String) json.get("host"), ((Long) json.get("port")).intValue(), Json.strings(json.get("labels")));
        }
    }

    static List<Change> all(String json) {
        List<Change> changes = new ArrayList<>();
        for (Object one : (List<?>) Json.parse(json)) {
            Map<?, ?> change = (Map<?, ?>) one;
            Kind kind = Kind.valueOf(((String) change.get("change")).toUpperCase(Locale.ROOT));
            changes.add(new Change(kind, (String) change.get("id"), Entry.of(change), Entry.of((Map<?, ?>) change.get("was"))));
        }
        return List.copyOf(changes);
    }
}
