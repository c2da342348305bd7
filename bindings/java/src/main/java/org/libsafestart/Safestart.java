// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongFunction;
import java.util.function.LongToIntFunction;
import java.util.function.Supplier;

/**
 * A handle. It stays open, also when nothing refers to it, until {@link #close()} or the end of the process, which it does not delay:
 * its two threads are daemons. Every method may be called from any thread.
 */
public final class Safestart implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger("safestart");
    private static final System.Logger.Level[] LEVELS = {
        System.Logger.Level.ERROR, System.Logger.Level.ERROR, System.Logger.Level.ERROR, System.Logger.Level.ERROR,
        System.Logger.Level.WARNING, System.Logger.Level.INFO, System.Logger.Level.INFO, System.Logger.Level.DEBUG,
    };
    private static final int FORCE = 1;
    private static final int URGENT = 2;

    /** What is known of a node. */
    public enum State {
        /** Not in the node set: neither announced nor live. */
        UNKNOWN,
        /** In the desired set, not live yet. */
        ANNOUNCED,
        /** Live, but no request to it has been reported yet. */
        APPLIED,
        /** Live, and the newest report says it works. */
        PROVEN,
        /** Live, and the newest report says it does not work. */
        FAILING,
        /** Announced, but unusable or rejected. */
        QUARANTINED,
        /** It has left the set, but a reader still holds it. */
        RETIRED;

        private static final State[] ALL = values();
    }

    /**
     * What is known of a node, with the reason or an explanation.
     *
     * @param state what is known
     * @param why in words
     */
    public record NodeState(State state, String why) {}

    private final Application application;
    private final Objects objects = new Objects(e -> LOG.log(System.Logger.Level.WARNING, "close of a node's data failed", e));
    private final Map<Long, Run> runs = new ConcurrentHashMap<>(); // by number; those that are not finished
    private final Set<Runnable> waiters = ConcurrentHashMap.newKeySet(); // each looks whether it is answered
    private final ExecutorService inside = Executors.newSingleThreadExecutor(task -> daemon(task, "safestart-run"));
    private final Thread events = daemon(this::takeEvents, "safestart-events");
    private final AtomicBoolean closing = new AtomicBoolean();

    // Whoever calls the library with the handle holds the read lock; close takes it away under the write lock. The thread that takes
    // events needs neither: close waits for it, unless it is the one that closes, and then it looks at `stopped`.
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private long handle; // 0: closed
    private volatile boolean stopped;

    private volatile NodeSet live; // changed under liveLock
    private final Object liveLock = new Object();
    private int sets; // that are not given back; guarded by liveLock
    private boolean closed; // guarded by liveLock

    /**
     * Open a handle.
     *
     * @param settings the library's own names and values, such as "source", "file:nodes.json"
     * @throws SafestartException a wrong setting, in words and with the nearest name
     */
    public static Safestart open(Map<String, String> settings, Application application) {
        return new Safestart(settings, application);
    }

    /** As above, for one that only reads. */
    public static Safestart open(Map<String, String> settings) {
        return open(settings, new Application() {});
    }

    /** The version of the library that is loaded. */
    public static String version() {
        return Native.text(Native.version());
    }

    private Safestart(Map<String, String> settings, Application application) {
        List<byte[]> pairs = new ArrayList<>();
        settings.forEach((key, value) -> {
            if (key.equals("events") || key.equals("thread")) {
                throw new SafestartException(SafestartException.EINVAL, key + ": set by this package, which takes the events itself");
            }
            pairs.add(Native.bytes(key));
            pairs.add(Native.bytes(value));
        });
        byte[][] why = new byte[1][];
        this.application = application;
        this.handle = Native.check(Native.open(pairs.toArray(new byte[0][]), why), why);
        this.live = acquire();
        events.start();
    }

    private static Thread daemon(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    private <T> T with(LongFunction<T> call) {
        lock.readLock().lock();
        try {
            if (handle == 0) {
                throw new SafestartException(SafestartException.ECANCELED, "the handle is closed");
            }
            return call.apply(handle);
        } finally {
            lock.readLock().unlock();
        }
    }

    // ---- Nodes

    private NodeSet acquire() {
        synchronized (liveLock) {
            sets++;
        }
        return new NodeSet(Native.acquire(handle), objects, this::gaveBack);
    }

    private void gaveBack() {
        boolean last;
        synchronized (liveLock) {
            last = --sets == 0 && closed;
        }
        if (last) {
            objects.retireAll();
        }
    }

    /** Under the read lock, or on the thread that takes events. */
    private void refresh(long handle) {
        NodeSet before = null;
        synchronized (liveLock) {
            if (Native.generation(handle) != live.generation()) {
                before = live;
                live = acquire();
            }
        }
        if (before != null) {
            before.letGo();
        }
    }

    /**
     * The live nodes, at the cost of reading a volatile field. For a look: what hangs on them may be closed at any moment by another
     * thread. To work with it: {@link #hold()}.
     */
    public NodeSet nodes() {
        return live;
    }

    /** The live nodes; none of them is retired before the result is closed, not even by {@link #close()}. For a try with resources. */
    public Held hold() {
        for (;;) {
            NodeSet nodes = live;
            if (nodes.hold()) {
                return new Held(nodes);
            }
            with(handle -> null); // it was given back: there is another one, or the handle is closed
        }
    }

    /** Replace all nodes by a Prometheus file_sd document (source=push). Returns the ticket. */
    public long replace(String json) {
        byte[] bytes = Native.bytes(json);
        byte[][] why = new byte[1][];
        return with(handle -> Native.check(Native.replace(handle, bytes, why), why));
    }

    /** Add one node, or give it another address or incarnation (null: as it is); source=push. Returns the ticket. */
    public long announce(String id, String address, String incarnation) {
        return with(handle -> Native.check(Native.announce(handle, Native.bytes(id), Native.bytes(address), Native.bytes(incarnation))));
    }

    /** Take one node out (source=push). Returns the ticket. */
    public long withdraw(String id) {
        return with(handle -> Native.check(Native.withdraw(handle, Native.bytes(id))));
    }

    // ---- Requests and their outcomes

    /** Ask for the nodes to be read again; requests in close succession share one ticket. */
    public long request() {
        return request(false, false, null);
    }

    /**
     * As above.
     *
     * @param force lifts the guard rails (max_shrink, min_nodes)
     * @param urgent skips debounce and backoff
     * @param reason for the log, or null
     */
    public long request(boolean force, boolean urgent, String reason) {
        int flags = (force ? FORCE : 0) | (urgent ? URGENT : 0);
        byte[] bytes = Native.bytes(reason);
        long ticket = with(handle -> Native.request(handle, flags, bytes));
        return ticket == 0 ? Native.check(SafestartException.ECANCELED) : ticket;
    }

    /**
     * The one outcome of a ticket. The wait occupies no thread, and ends by cancel(), orTimeout() and the like. What depends on the
     * future is done on the thread that takes the events, unless it is added by one of the methods that end in Async.
     */
    public CompletableFuture<Outcome> outcome(long ticket) {
        return await(() -> with(handle -> lookAt(handle, ticket)));
    }

    /** Null: not answered yet. */
    private Outcome lookAt(long handle, long ticket) {
        long[] numbers = new long[Outcome.NUMBERS];
        byte[][] message = new byte[1][];
        int result = Native.tryWait(handle, ticket, numbers, message);
        switch (result) {
            case SafestartException.EAGAIN:
                return null;
            case SafestartException.EINVAL:
                throw new SafestartException(result, "this ticket was never issued");
            case SafestartException.ENODATA:
                throw new SafestartException(result, "this ticket was answered, but its outcome is no longer kept");
            default:
                Native.check(result);
                refresh(handle); // a look after the wait sees the new set
                return Outcome.of(numbers, 0, Native.text(message[0]));
        }
    }

    /** Done when a first generation is live. */
    public CompletableFuture<Void> ready() {
        return await(() -> with(handle -> {
                    int result = Native.ready(handle);
                    if (result == SafestartException.ETIMEDOUT || result == SafestartException.EAGAIN) {
                        return null;
                    }
                    Native.check(result);
                    refresh(handle);
                    return true;
                }))
                .thenApply(yes -> null);
    }

    /** Looks now, and again after events, until there is something. */
    private <T> CompletableFuture<T> await(Supplier<T> look) {
        CompletableFuture<T> future = new CompletableFuture<>();
        Runnable waiter = () -> {
            try {
                T found = look.get();
                if (found != null) {
                    future.complete(found);
                }
            } catch (SafestartException e) {
                future.completeExceptionally(e);
            }
        };
        waiters.add(waiter);
        future.whenComplete((found, failure) -> waiters.remove(waiter));
        waiter.run();
        return future;
    }

    // ---- What is known

    /** What is known of the node with this id. */
    public NodeState state(String id) {
        byte[] bytes = Native.bytes(id);
        byte[][] why = new byte[1][];
        int state = with(handle -> (int) Native.check(Native.state(handle, bytes, why)));
        return new NodeState(State.ALL[state], Native.text(why[0]));
    }

    /** Everything at one moment: maps, lists, strings, Long, Double, Boolean. "summary" is the line to read first. */
    @SuppressWarnings("unchecked")
    public Map<String, Object> status() {
        return (Map<String, Object>) Json.parse(Native.text(with(Native::status)));
    }

    /** Figures for Prometheus. */
    public String metrics() {
        return Native.text(with(Native::metrics));
    }

    // ---- Events

    private void takeEvents() {
        long[] numbers = new long[5 + Outcome.NUMBERS];
        byte[][] text = new byte[1][];
        long own = handle;
        int taken = 0;
        while (taken >= 0 && !stopped) {
            Native.poll(own);
            do {
                taken = Native.nextEvent(own, numbers, text);
                if (taken == 1) {
                    take(numbers, text);
                }
            } while (taken == 1 && !stoppedByMyself());
            if (!stoppedByMyself()) {
                refresh(own);
                waiters.forEach(Runnable::run);
            }
        }
    }

    /** Close, called by a listener on this thread, has taken the handle away; when another thread closes, it waits. */
    private boolean stoppedByMyself() {
        return stopped && closedBy == Thread.currentThread();
    }

    private volatile Thread closedBy;

    private void take(long[] numbers, byte[][] text) {
        long number = numbers[2];
        switch ((int) numbers[0]) {
            case 1, 2 -> execute(new Run(numbers[3], number, objects), numbers[0] == 1);
            case 4 -> {
                Run run = runs.get(number);
                if (run != null) {
                    run.cancel();
                }
            }
            case 5, 6 -> objects.retire(numbers[4]);
            case 7 -> tell(Outcome.of(numbers, 5, Native.text(text[0])));
            case 8 -> LOG.log(LEVELS[(int) numbers[1]], Native.text(text[0]));
            default -> { } // 3, committed: the set is looked at anyway
        }
    }

    private void tell(Outcome outcome) {
        try {
            application.outcome(outcome);
        } catch (RuntimeException e) {
            LOG.log(System.Logger.Level.ERROR, "the application's outcome() failed", e);
        }
    }

    private void execute(Run run, boolean prepare) {
        runs.put(run.number(), run);
        inside.execute(() -> {
            Throwable thrown = null;
            run.begin();
            try {
                if (prepare) {
                    application.prepare(run);
                } else {
                    application.restart(run);
                }
            } catch (Throwable e) { // an Error too is the run's, and would end the thread
                thrown = e;
            }
            runs.remove(run.number(), run);
            run.finish(thrown);
        });
    }

    // ---- Its life

    /** With start=after_fork: start now, perhaps with another "name", "control" or "serves". */
    public void afterFork(Map<String, String> settings) {
        byte[][] why = new byte[1][];
        settings.forEach((key, value) ->
                call(handle -> (int) Native.check(Native.afterForkSet(handle, Native.bytes(key), Native.bytes(value), why), why)));
        call(Native::afterFork);
    }

    /** Start no more runs, and answer every open ticket. Reading goes on. */
    public void shutdown() {
        call(Native::shutdown);
    }

    private void call(LongToIntFunction function) {
        Native.check(with(function::applyAsInt));
    }

    /**
     * Shut down, end all waits, and close what hangs on nodes. It waits for neither {@code prepare} nor {@code restart}, which are
     * interrupted. Again: nothing.
     *
     * @throws SafestartException ETIMEDOUT: it gave up waiting for the source of the nodes; call it again
     */
    @Override
    public void close() {
        if (!closing.compareAndSet(false, true)) {
            return;
        }
        shutdown();
        waiters.forEach(Runnable::run); // their tickets are answered
        stopEvents();
        runs.values().forEach(Run::abandon);
        runs.clear();
        inside.shutdown();
        long own;
        lock.writeLock().lock();
        own = handle;
        handle = 0;
        lock.writeLock().unlock();
        int result = Native.close(own);
        if (result < 0) {
            handle = own;
            closing.set(false);
            Native.check(result);
        }
        waiters.forEach(Runnable::run); // there is no handle any more: they fail
        synchronized (liveLock) {
            closed = true;
        }
        live.letGo();
    }

    private void stopEvents() {
        closedBy = Thread.currentThread();
        stopped = true;
        with(handle -> {
            Native.wake(handle);
            return null;
        });
        boolean interrupted = false;
        while (closedBy != events && events.isAlive()) {
            try {
                events.join();
            } catch (InterruptedException e) {
                interrupted = true; // close is short, and is not left half done
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
