// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.HashMap;
import java.util.Map;
import java.util.StringJoiner;
import java.util.concurrent.TimeUnit;

/** What several tests use: handles whose nodes are pushed. */
final class Pushed {
    static final Map<String, String> SETTINGS =
            Map.of("debounce", "0", "retry_min", "0", "max_shrink", "100%", "allow_empty", "yes");

    private Pushed() {}

    static Safestart open(Application application, String... more) {
        Map<String, String> settings = new HashMap<>(SETTINGS);
        for (int i = 0; i < more.length; i += 2) {
            settings.put(more[i], more[i + 1]);
        }
        return Safestart.open(settings, application);
    }

    /** id, target, id, target … */
    static String document(String... nodes) {
        StringJoiner groups = new StringJoiner(",", "[", "]");
        for (int i = 0; i < nodes.length; i += 2) {
            groups.add("{\"targets\":[\"" + nodes[i + 1] + "\"],\"labels\":{\"id\":\"" + nodes[i] + "\"}}");
        }
        return groups.toString();
    }

    static Outcome push(Safestart handle, String... nodes) throws Exception {
        return handle.outcome(handle.replace(document(nodes))).get(1, TimeUnit.MINUTES);
    }
}
