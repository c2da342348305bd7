// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.libsafestart.Pushed.document;
import static org.libsafestart.Pushed.open;
import static org.libsafestart.Pushed.push;

import clojure.java.api.Clojure;
import java.net.ConnectException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.libsafestart.Outcome.Verdict;
import org.libsafestart.Safestart.State;

@Timeout(120)
class SafestartTest {
    private interface Script {
        void play(Run run) throws Exception;
    }

    private static Application preparing(Script script) {
        return new Application() {
            @Override
            public void prepare(Run run) throws Exception {
                script.play(run);
            }
        };
    }

    private static final Application NOTHING = new Application() {};

    @Test
    void aWrongSettingIsRefusedInTheWordsOfTheLibrary() {
        SafestartException refused = assertThrows(SafestartException.class, () -> Safestart.open(Map.of("debonce", "1s")));
        assertEquals(-22, refused.errno());
        assertTrue(refused.getMessage().contains("debounce"), refused.getMessage());
        assertThrows(SafestartException.class, () -> Safestart.open(Map.of("name", "a\0b")));
        assertThrows(SafestartException.class, () -> Safestart.open(Map.of("thread", "no")));
        assertTrue(Safestart.version().matches("\\d+\\.\\d+\\.\\d+"));
    }

    @Test
    void nodesThatArePushedAreLiveWithTheirData() throws Exception {
        BlockingQueue<List<Change>> changes = new LinkedBlockingQueue<>();
        Script script = run -> {
            changes.add(run.changes());
            for (Change change : run.changes()) {
                run.setNodeData(change.id(), "of " + change.id());
            }
            run.setData(7);
            assertEquals("of [::1]:2", run.nodes().get("[::1]:2").data());
        };
        try (Safestart handle = open(preparing(script))) {
            assertEquals(0, handle.nodes().generation());
            long ticket = handle.replace("[{\"targets\":[\"[::1]:2\",\"10.0.0.2:3\"],\"labels\":{\"zone\":\"Köln 🐧\\\"\\n\"}}]");
            Outcome outcome = handle.outcome(ticket).get();
            assertEquals(Verdict.APPLIED, outcome.verdict());
            assertEquals(1, outcome.generation());
            Change.Entry entry = new Change.Entry("::1", 2, Map.of("zone", "Köln 🐧\"\n"));
            assertEquals(new Change(Change.Kind.ADDED, "[::1]:2", entry, null), changes.take().get(1));
            NodeSet nodes = handle.nodes();
            assertSame(nodes, handle.nodes());
            assertEquals(7, nodes.data());
            Node node = nodes.nodes().get(1);
            assertSame(node, nodes.get("[::1]:2"));
            assertEquals("::1", node.host());
            assertEquals(2, node.port());
            assertEquals(entry.labels(), node.labels());
            assertEquals("of [::1]:2", node.data(String.class));
            assertNull(nodes.get("nobody"));
            assertEquals(-22, assertThrows(SafestartException.class, () -> handle.replace("[{")).errno());
            assertEquals(-2, assertThrows(SafestartException.class, () -> handle.withdraw("nobody")).errno());
            assertEquals(Verdict.APPLIED, handle.outcome(handle.announce("a", "10.0.0.1:1", "boot-7")).get().verdict());
            assertEquals(Map.of("incarnation", "boot-7"), handle.nodes().get("a").labels());
        }
    }

    @Test
    void nodesComeFromAFile(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("nodes.json");
        Files.writeString(file, document("a", "10.0.0.1:1"));
        BlockingQueue<Outcome> outcomes = new LinkedBlockingQueue<>();
        Application application = new Application() {
            @Override
            public void outcome(Outcome outcome) {
                outcomes.add(outcome);
                throw new IllegalStateException("this costs no event");
            }
        };
        try (Safestart handle = open(application, "source", "file:" + file)) {
            handle.ready().get();
            assertEquals("[a]", handle.nodes().nodes().toString());
            Files.writeString(folder.resolve("new"), document("b", "10.0.0.2:1"));
            Files.move(folder.resolve("new"), file, StandardCopyOption.ATOMIC_MOVE);
            while (outcomes.take().generation() < 2) {
                assertFalse(handle.metrics().isEmpty());
            }
            Outcome outcome = handle.outcome(handle.request()).get();
            assertEquals(2, outcome.generation());
            assertEquals("[b]", handle.nodes().nodes().toString());
            assertEquals(-95, assertThrows(SafestartException.class, () -> handle.replace("[]")).errno());
        }
    }

    @Test
    void whatPrepareAndRestartThrowArrivesInTheOutcome() throws Exception {
        Application application = new Application() {
            @Override
            public void prepare(Run run) throws Exception {
                if (run.number() == 1) {
                    throw new ConnectException("no route to riak-2 – ä\0");
                } else if (run.number() == 2) {
                    throw new AssertionError("an Error, too");
                }
            }

            @Override
            public void restart(Run run) {
                if (run.number() == 3) {
                    throw new IllegalStateException("worn out");
                }
                run.setStatus(7);
            }
        };
        try (Safestart handle = open(application)) {
            Outcome outcome = push(handle, "a", "10.0.0.1:1");
            assertEquals(Verdict.FAILED, outcome.verdict());
            assertTrue(outcome.message().contains("prepare failed: java.net.ConnectException: no route to riak-2 – ä\uFFFD"), outcome.message());
            assertTrue(push(handle, "a", "10.0.0.1:1").message().contains("an Error, too"));
            assertTrue(push(handle, "a", "10.0.0.1:1").message().contains("restart failed: java.lang.IllegalStateException: worn out"));
            assertEquals(7, handle.outcome(handle.request()).get().status());
        }
    }

    @Test
    void aRejectedNodeIsLeftOutAndItsDataClosed() throws Exception {
        AtomicInteger closed = new AtomicInteger();
        Script script = run -> {
            run.setNodeData("b", (AutoCloseable) closed::incrementAndGet);
            run.reject("b", "not this one");
            assertEquals(-2, assertThrows(SafestartException.class, () -> run.reject("nobody", null)).errno());
            assertEquals(-2, assertThrows(SafestartException.class, () -> run.setNodeData("nobody", this)).errno());
        };
        try (Safestart handle = open(preparing(script))) {
            assertEquals(1, push(handle, "a", "10.0.0.1:1", "b", "10.0.0.2:1").quarantined());
            assertEquals("[a]", handle.nodes().nodes().toString());
            assertEquals(State.QUARANTINED, handle.state("b").state());
            assertTrue(handle.state("b").why().contains("not this one"));
        }
        assertEquals(1, closed.get());
    }

    @Test
    void anObjectIsClosedOnceWhenItHangsNowhereAnyMore() throws Exception {
        AtomicInteger closed = new AtomicInteger();
        AutoCloseable shared = closed::incrementAndGet;
        Script script = run -> {
            for (Change change : run.changes()) {
                if (change.kind() != Change.Kind.REMOVED) {
                    run.setNodeData(change.id(), shared);
                    run.setNodeData(change.id(), shared);
                }
            }
        };
        try (Safestart handle = open(preparing(script))) {
            push(handle, "a", "10.0.0.1:1", "b", "10.0.0.2:1");
            push(handle, "a", "10.0.0.1:1");
            push(handle, "a", "10.0.0.9:9");
            assertEquals(0, closed.get());
        }
        assertEquals(1, closed.get());
    }

    @Test
    void holdKeepsWhatHangsOnTheNodesAlsoBeyondClose() throws Exception {
        Set<String> closed = new HashSet<>();
        Script script = run -> {
            for (Change change : run.changes()) {
                if (change.kind() == Change.Kind.ADDED) {
                    run.setNodeData(change.id(), (AutoCloseable) () -> closed.add(change.id()));
                }
            }
        };
        Safestart handle = open(preparing(script));
        push(handle, "a", "10.0.0.1:1");
        Held held = handle.hold();
        push(handle, "b", "10.0.0.2:1");
        assertEquals(State.RETIRED, handle.state("a").state());
        handle.close();
        assertFalse(closed.contains("a"));
        assertEquals("[a]", held.nodes().nodes().toString());
        held.close();
        held.close();
        assertEquals(Set.of("a", "b"), closed);
        assertThrows(SafestartException.class, handle::hold);
    }

    @Test
    void aPrepareThatTakesTooLongIsInterruptedAndRefusedLater() throws Exception {
        CompletableFuture<Run> entered = new CompletableFuture<>();
        CompletableFuture<Run> late = new CompletableFuture<>();
        Script script = run -> {
            if (!entered.complete(run)) {
                return;
            }
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException e) {
                assertTrue(run.isCancelled());
                late.complete(run);
            }
        };
        try (Safestart handle = open(preparing(script), "run_timeout", "50ms")) {
            // On a busy machine any run may be too slow.
            while (!entered.isDone()) {
                assertEquals(Verdict.TIMED_OUT, push(handle, "a", "10.0.0.1:1").verdict());
            }
            assertSame(entered.get(), late.get());
            while (push(handle, "b", "10.0.0.1:1").verdict() != Verdict.APPLIED) {
                assertTrue(late.isDone());
            }
            assertEquals(-116, assertThrows(SafestartException.class, late.get()::changes).errno());
            assertEquals(-116, assertThrows(SafestartException.class, () -> late.get().setNodeData("b", this)).errno());
        }
    }

    @Test
    void requestsInCloseSuccessionAreOneRun() throws Exception {
        try (Safestart handle = open(NOTHING, "debounce", "1h", "max_delay", "1h")) {
            Set<Long> tickets = new HashSet<>();
            for (int i = 0; i < 1000; i++) {
                tickets.add(handle.request());
            }
            tickets.add(handle.request(true, true, "the last one"));
            assertEquals(1, tickets.size());
            assertEquals(1001, handle.outcome(tickets.iterator().next()).get().requests());
        }
    }

    @Test
    void aWaitEndsAsFuturesEnd() throws Exception {
        try (Safestart handle = open(NOTHING, "debounce", "1h", "max_delay", "1h")) {
            long ticket = handle.request();
            CompletableFuture<Outcome> cancelled = handle.outcome(ticket);
            CompletableFuture<Outcome> waiting = handle.outcome(ticket);
            assertTrue(cancelled.cancel(true));
            assertTrue(cancelled.isCancelled());
            CompletableFuture<Outcome> timed = handle.outcome(ticket).orTimeout(1, TimeUnit.MILLISECONDS);
            assertTrue(assertThrows(ExecutionException.class, timed::get).getCause() instanceof TimeoutException);
            Throwable unknown = assertThrows(ExecutionException.class, handle.outcome(ticket + 1)::get).getCause();
            assertEquals(-22, ((SafestartException) unknown).errno());
            assertFalse(waiting.isDone());
            handle.shutdown();
            assertEquals(Verdict.CANCELLED, waiting.get().verdict());
            assertEquals(-125, assertThrows(SafestartException.class, handle::request).errno());
        }
    }

    @Test
    void reportsStatesStatusAndMetrics() throws Exception {
        try (Safestart handle = open(NOTHING, "name", "api")) {
            push(handle, "a", "10.0.0.1:1");
            Node node = handle.nodes().get("a");
            node.report();
            assertEquals(State.PROVEN, handle.state("a").state());
            node.report(new ConnectException("refused"));
            assertTrue(handle.state("a").why().contains("refused"));
            node.report();
            push(handle, "a", "10.0.0.9:9");
            node.report(1); // of a set that is gone: it says nothing about the new node
            assertEquals(State.APPLIED, handle.state("a").state());
            assertEquals(State.UNKNOWN, handle.state("nobody").state());
            assertEquals(2L, handle.status().get("generation"));
            assertTrue(handle.metrics().contains("safestart_generation{name=\"api\"} 2"));
        }
    }

    @Test
    void withStartAfterForkNothingRunsBeforeItIsSaid() throws Exception {
        try (Safestart handle = open(NOTHING, "start", "after_fork", "name", "master")) {
            long ticket = handle.replace(document("a", "10.0.0.1:1"));
            handle.afterFork(Map.of("name", "worker-1"));
            assertEquals(Verdict.APPLIED, handle.outcome(ticket).get().verdict());
            assertTrue(handle.metrics().contains("name=\"worker-1\""));
        }
    }

    @Test
    void itIsUsedFromClojure() {
        Object told = Clojure.var("clojure.core", "load-string").invoke(
                "(let [seen (promise)"
                        + " application (reify org.libsafestart.Application (prepare [_ run] (deliver seen (.id (first (.changes run))))))]"
                        + " (with-open [handle (org.libsafestart.Safestart/open {\"debounce\" \"0\"} application)]"
                        + "  (let [outcome @(.outcome handle (.replace handle \"[{\\\"targets\\\":[\\\"10.0.0.1:1\\\"]}]\"))]"
                        + "   [(str (.verdict outcome)) @seen (.port (first (.nodes handle)))])))");
        assertEquals(List.of("APPLIED", "10.0.0.1:1", 1), told);
    }
}
