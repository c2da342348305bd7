// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart; // for its Json

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.ref.WeakReference;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/** The conformance program: see bindings/conformance/README.md. */
final class Conformance implements Application {
    private final AtomicLong made = new AtomicLong();
    private final AtomicLong retired = new AtomicLong();
    private final AtomicLong usedAfterRetire = new AtomicLong();
    private final AtomicLong madeSets = new AtomicLong();
    private final AtomicLong retiredSets = new AtomicLong();
    private final AtomicLong told = new AtomicLong();
    private final AtomicLong heartbeat = new AtomicLong();
    private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(1, task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });
    private volatile String prepareScript = "ok";
    private volatile String restartScript = "ok";
    private volatile boolean leaveOpen;
    private Safestart handle;
    private boolean ended;

    private final class Connection implements AutoCloseable {
        final long number = made.incrementAndGet();
        volatile boolean closed;

        @Override
        public void close() {
            closed = true;
            retired.incrementAndGet();
        }
    }

    @Override
    public void prepare(Run run) throws Exception {
        for (Change change : run.changes()) {
            if (change.kind() != Change.Kind.REMOVED) {
                run.setNodeData(change.id(), new Connection());
            }
        }
        madeSets.incrementAndGet();
        run.setData((AutoCloseable) retiredSets::incrementAndGet);
        while (leaveOpen) {
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException e) {
                // Never finished, whatever it is told.
            }
        }
        play(prepareScript, run);
    }

    @Override
    public void restart(Run run) throws Exception {
        play(restartScript, run);
    }

    private void play(String script, Run run) throws Exception {
        String argument = script.substring(script.indexOf(':') + 1);
        switch (script.split(":")[0]) {
            case "reject" -> run.reject(argument, "not this one");
            case "throw" -> throw new IllegalStateException(argument);
            case "hang" -> {
                try {
                    Thread.sleep(Long.MAX_VALUE);
                } catch (InterruptedException e) {
                    told.incrementAndGet();
                }
            }
            case "status" -> run.setStatus(Integer.parseInt(argument));
            case "crash" -> {
                Class<?> unsafe = Class.forName("sun.misc.Unsafe");
                Field field = unsafe.getDeclaredField("theUnsafe");
                field.setAccessible(true);
                unsafe.getMethod("putAddress", long.class, long.class).invoke(field.get(null), 0L, 0L);
            }
            default -> { }
        }
    }

    private static int integer(Map<?, ?> command, String key) {
        return ((Long) command.get(key)).intValue();
    }

    private CompletableFuture<Object> outcome(Map<?, ?> command) {
        CompletableFuture<Outcome> wait = handle.outcome((Long) command.get("ticket"));
        long[] cancelledAt = new long[1];
        if (integer(command, "timeout_ms") >= 0) {
            wait.orTimeout(integer(command, "timeout_ms"), TimeUnit.MILLISECONDS);
        }
        if (command.get("cancel_after_ms") != null) {
            timer.schedule(() -> {
                cancelledAt[0] = System.nanoTime();
                wait.cancel(true);
            }, integer(command, "cancel_after_ms"), TimeUnit.MILLISECONDS);
        }
        return wait.handle((outcome, failure) -> {
            if (failure instanceof TimeoutException) {
                return Map.of("timeout", true);
            }
            if (failure instanceof CancellationException) {
                return Map.of("cancelled", true, "after_ms", (System.nanoTime() - cancelledAt[0]) / 1e6);
            }
            if (failure != null) {
                throw (RuntimeException) failure;
            }
            return Map.of("verdict", outcome.verdict().ordinal(), "code", outcome.error(), "words", outcome.message(), "run", outcome.run(),
                    "generation", outcome.generation(), "requests", outcome.requests(), "status", outcome.status());
        });
    }

    private Object burst(Map<?, ?> command) throws InterruptedException {
        ConcurrentSkipListSet<Long> tickets = new ConcurrentSkipListSet<>();
        int threads = integer(command, "threads");
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            int share = integer(command, "count") / threads + (i < integer(command, "count") % threads ? 1 : 0);
            Thread thread = new Thread(() -> {
                for (int j = 0; j < share; j++) {
                    tickets.add(handle.request());
                }
            });
            thread.start();
            all.add(thread);
        }
        for (Thread thread : all) {
            thread.join();
        }
        return Map.of("tickets", List.copyOf(tickets));
    }

    private Object nodes() {
        try (Held held = handle.hold()) {
            List<Object> nodes = new ArrayList<>();
            for (Node node : held.nodes()) {
                Connection connection = node.data(Connection.class);
                if (connection != null && connection.closed) {
                    usedAfterRetire.incrementAndGet();
                }
                Map<String, Object> one = new LinkedHashMap<>(Map.of("id", node.id(), "host", node.host(), "port", node.port(), "labels", node.labels()));
                one.put("data", connection == null ? null : connection.number);
                nodes.add(one);
            }
            return Map.of("generation", held.nodes().generation(), "nodes", nodes);
        }
    }

    private Object counts() throws IOException {
        System.gc(); // the memory that is in use, not what is not collected yet
        long pages = Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ")[1]);
        Map<String, Object> counts = new LinkedHashMap<>();
        counts.put("made", made.get());
        counts.put("retired", retired.get());
        counts.put("used_after_retire", usedAfterRetire.get());
        counts.put("made_sets", madeSets.get());
        counts.put("retired_sets", retiredSets.get());
        counts.put("told", told.get());
        counts.put("heartbeat", heartbeat.getAndSet(0));
        counts.put("threads", new File("/proc/self/task").list().length);
        counts.put("descriptors", new File("/proc/self/fd").list().length);
        counts.put("rss_kib", pages * 4);
        return counts;
    }

    private volatile NodeSet own;

    private Object read(int times) {
        Safestart handle = this.handle;
        long seen = 0;
        own = handle.nodes();
        long begun = System.nanoTime();
        for (int i = 0; i < times; i++) {
            seen += handle.nodes().generation();
        }
        double ns = (double) (System.nanoTime() - begun) / times;
        begun = System.nanoTime();
        for (int i = 0; i < times; i++) {
            seen += own.generation();
        }
        return Map.of("ns", ns, "own_ns", (double) (System.nanoTime() - begun) / times, "seen", seen);
    }

    private Object end(String how) {
        ended = true;
        switch (how) {
            case "exit" -> System.exit(3);
            case "throw" -> throw new IllegalStateException("thrown by the application");
            case "drop" -> {
                WeakReference<Object> handle = new WeakReference<>(new Object());
                this.handle = null;
                while (handle.get() != null) {
                    System.gc();
                }
            }
            default -> { }
        }
        return Map.of();
    }

    private Object execute(Map<?, ?> command) throws Exception {
        String node = (String) command.get("node");
        switch ((String) command.get("do")) {
            case "hello":
                return Map.of("language", "java", "version", System.getProperty("java.version"), "library", Safestart.version(), "forks", false);
            case "open":
                handle = Safestart.open(Json.strings(command.get("settings")), this);
                return Map.of();
            case "replace":
                return Map.of("ticket", handle.replace((String) command.get("json")));
            case "announce":
                return Map.of("ticket", handle.announce(node, (String) command.get("address"), (String) command.get("incarnation")));
            case "withdraw":
                return Map.of("ticket", handle.withdraw(node));
            case "request":
                return Map.of("ticket",
                        handle.request((Boolean) command.get("force"), (Boolean) command.get("urgent"), (String) command.get("reason")));
            case "outcome":
                return outcome(command);
            case "burst":
                return burst(command);
            case "script":
                prepareScript = (String) command.get("prepare");
                restartScript = (String) command.get("restart");
                return Map.of();
            case "nodes":
                return nodes();
            case "report":
                handle.nodes().get(node).report(integer(command, "code"));
                return Map.of();
            case "state":
                Safestart.NodeState state = handle.state(node);
                return Map.of("state", state.state().ordinal(), "why", state.why());
            case "status":
                return Map.of("status", handle.status());
            case "metrics":
                return Map.of("text", handle.metrics());
            case "counts":
                return counts();
            case "read":
                return read(integer(command, "times"));
            case "later":
                leaveOpen = true;
                return Map.of();
            case "shutdown":
                handle.shutdown();
                return Map.of();
            case "close":
                long begun = System.nanoTime();
                handle.close();
                return Map.of("ms", (System.nanoTime() - begun) / 1e6);
            case "end":
                return end((String) command.get("how"));
            default:
                throw new IllegalArgumentException("unknown command " + command);
        }
    }

    private static void answer(Object id, Object result, Throwable failure) {
        Map<Object, Object> answer = new LinkedHashMap<>();
        answer.put("id", id);
        if (failure == null) {
            answer.putAll((Map<?, ?>) result);
        } else {
            answer.put("error", failure instanceof SafestartException refused ? refused.errno() : -22);
            answer.put("message", String.valueOf(failure.getMessage()));
        }
        byte[] line = (json(answer) + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (System.out) {
            System.out.write(line, 0, line.length);
            System.out.flush();
        }
    }

    private static String json(Object value) {
        StringBuilder json = new StringBuilder();
        write(json, value);
        return json.toString();
    }

    private static void write(StringBuilder json, Object value) {
        if (value instanceof Map<?, ?> map) {
            json.append('{');
            map.forEach((key, element) -> {
                write(json.append(json.charAt(json.length() - 1) == '{' ? "" : ","), key);
                write(json.append(':'), element);
            });
            json.append('}');
        } else if (value instanceof List<?> list) {
            json.append('[');
            list.forEach(element -> write(json.append(json.charAt(json.length() - 1) == '[' ? "" : ","), element));
            json.append(']');
        } else if (value instanceof String text) {
            json.append('"');
            text.chars().forEach(c -> json.append(c < ' ' || c == '"' || c == '\\' ? String.format("\\u%04x", c) : String.valueOf((char) c)));
            json.append('"');
        } else {
            json.append(value);
        }
    }

    @SuppressWarnings("unchecked")
    private void run() throws IOException {
        timer.scheduleAtFixedRate(heartbeat::incrementAndGet, 10, 10, TimeUnit.MILLISECONDS);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null && !ended; line = ended ? null : lines.readLine()) {
            Map<?, ?> command = (Map<?, ?>) Json.parse(line);
            Object id = command.get("id");
            try {
                Object result = execute(command);
                if (result instanceof CompletableFuture<?> future) {
                    ((CompletableFuture<Object>) future).whenComplete((found, failure) -> answer(id, found,
                            failure instanceof java.util.concurrent.CompletionException ? failure.getCause() : failure));
                } else if (!ended) {
                    answer(id, result, null);
                }
            } catch (Exception e) {
                if (ended) {
                    throw (RuntimeException) e;
                }
                answer(id, null, e);
            }
        }
    }

    public static void main(String[] arguments) throws IOException {
        new Conformance().run();
    }
}
