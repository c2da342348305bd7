// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.libsafestart.Pushed.document;
import static org.libsafestart.Pushed.open;
import static org.libsafestart.Pushed.push;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.libsafestart.Outcome.Verdict;

@Timeout(120)
class LifeTest {
    /** A `prepare` that never returns, whatever it is told. */
    private static final class Stubborn implements Application {
        final CountDownLatch inside = new CountDownLatch(1);
        final AtomicInteger closed = new AtomicInteger();

        @Override
        public void prepare(Run run) {
            run.setNodeData("a", (AutoCloseable) closed::incrementAndGet);
            inside.countDown();
            for (;;) {
                try {
                    Thread.sleep(Long.MAX_VALUE);
                } catch (InterruptedException e) {
                    continue;
                }
            }
        }
    }

    @Test
    void closeEndsWhatIsOpen() throws Exception {
        Stubborn stubborn = new Stubborn();
        Safestart handle = open(stubborn, "run_timeout", "1h");
        CompletableFuture<Outcome> waiting = handle.outcome(handle.replace(document("a", "10.0.0.1:1")));
        stubborn.inside.await();
        handle.close();
        handle.close();
        assertEquals(Verdict.CANCELLED, waiting.get().verdict());
        assertEquals(1, stubborn.closed.get());
        assertThrows(SafestartException.class, handle::request);
        assertTrue(handle.outcome(1).isCompletedExceptionally());
    }

    @Test
    void itMayBeClosedFromEveryThreadOfItsOwn() throws Exception {
        CompletableFuture<Safestart> itself = new CompletableFuture<>();
        CountDownLatch closed = new CountDownLatch(1);
        itself.complete(open(new Application() {
            @Override
            public void outcome(Outcome outcome) {
                itself.join().close();
                closed.countDown();
            }
        }));
        itself.get().replace(document("a", "10.0.0.1:1"));
        closed.await();

        CompletableFuture<Safestart> other = new CompletableFuture<>();
        CompletableFuture<Integer> refused = new CompletableFuture<>();
        other.complete(open(new Application() {
            @Override
            public void prepare(Run run) {
                other.join().close();
                refused.complete(assertThrows(SafestartException.class, run::changes).errno());
            }
        }));
        other.get().replace(document("a", "10.0.0.1:1"));
        assertEquals(-116, refused.get());
    }

    @Test
    void requestsLooksAndHoldsGoOnWhileItIsClosed() throws Exception {
        for (int i = 0; i < 30; i++) {
            Safestart handle = open(new Application() {});
            push(handle, "a", "10.0.0.1:1");
            Thread[] threads = new Thread[3];
            CountDownLatch started = new CountDownLatch(threads.length);
            CompletableFuture<Throwable> unexpected = new CompletableFuture<>();
            for (int t = 0; t < threads.length; t++) {
                threads[t] = new Thread(() -> {
                    started.countDown();
                    try {
                        for (;;) {
                            try (Held held = handle.hold()) {
                                held.nodes().get("a").report();
                            }
                            handle.outcome(handle.request()).cancel(true);
                            handle.status();
                        }
                    } catch (SafestartException expected) {
                        return;
                    } catch (RuntimeException e) {
                        unexpected.complete(e);
                    }
                });
                threads[t].start();
            }
            started.await();
            handle.close();
            for (Thread thread : threads) {
                thread.join();
            }
            assertEquals(null, unexpected.getNow(null));
        }
    }

    @Test
    void threadsAndDescriptorsAreTheSameAfter100Handles() throws Exception {
        int before = 0;
        for (int i = 0; i < 110; i++) {
            if (i == 10) {
                before = descriptors();
            }
            try (Safestart handle = open(new Application() {})) {
                push(handle, "a", "10.0.0.1:1");
            }
        }
        assertTrue(descriptors() <= before, descriptors() + " descriptors, before: " + before);
        Thread.getAllStackTraces().keySet().stream().filter(thread -> thread.getName().equals("safestart-events")).forEach(thread -> {
            throw new AssertionError("a thread is left: " + thread);
        });
    }

    private static int descriptors() {
        return new File("/proc/self/fd").list().length;
    }

    /** What a process does that ends in some way; see the test below. */
    static final class Ending {
        public static void main(String[] arguments) throws Exception {
            Stubborn stubborn = new Stubborn();
            Application application = arguments[1].equals("inside") ? stubborn : new Application() {};
            Safestart handle = Safestart.open(Map.of("debounce", "0", "run_timeout", "1h"), application);
            handle.replace(document("a", "10.0.0.1:1"));
            if (application == stubborn) {
                stubborn.inside.await();
            } else {
                for (int i = 0; i < 100; i++) {
                    push(handle, "a", "10.0.0." + i + ":1");
                }
                handle.replace(document("a", "10.0.1.1:1"));
            }
            switch (arguments[0]) {
                case "exit" -> System.exit(3);
                case "error" -> throw new IllegalStateException("x");
                case "SIGTERM" -> {
                    new ProcessBuilder("kill", Long.toString(ProcessHandle.current().pid())).start();
                    Thread.sleep(Long.MAX_VALUE);
                }
                default -> { }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"return,0", "exit,3", "error,1", "SIGTERM,143"})
    void aProcessMayEndInAnyWay(String how, int code) throws Exception {
        for (String when : new String[] {"busy", "inside"}) {
            assertEquals(code, java("-cp", System.getProperty("java.class.path"), Ending.class.getName(), how, when), when);
        }
    }

    private static int java(String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")); // they start sooner
        command.addAll(List.of(arguments));
        Path log = Files.createTempFile("safestart", ".log");
        try {
            int code = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start().waitFor();
            output = Files.readString(log, StandardCharsets.UTF_8);
            return code;
        } finally {
            Files.delete(log);
        }
    }

    private static String output; // of the newest process

    @Test
    void theReadmesFirstExampleRuns(@TempDir Path folder) throws Exception {
        Matcher example = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(Path.of("README.md")));
        assertTrue(example.find());
        Path file = Files.writeString(folder.resolve("Example.java"), example.group(1));
        assertEquals(0, java("-cp", System.getProperty("java.class.path"), file.toString()), output);
        assertTrue(output.contains("APPLIED generation 1 is live: 2 nodes (2 added, 0 removed, 0 changed)"), output);
        assertTrue(output.contains("10.0.0.2:8087 connection to 10.0.0.2"), output);
    }
}
