// SPDX-License-Identifier: LGPL-2.1-or-later
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.libsafestart.Application;
import org.libsafestart.Change;
import org.libsafestart.Held;
import org.libsafestart.Node;
import org.libsafestart.NodeSet;
import org.libsafestart.Run;
import org.libsafestart.Safestart;

/**
 * An API server: the HttpServer of the JDK, Redis nodes behind it from the file that SAFESTART_NODES names. It shows itself in the
 * directory that SAFESTART_CONTROL names. Usage: Api PORT
 */
final class Api implements Application {
    private static final int THREADS = 8;

    /** The connections to one node; each is used by one request at a time. */
    private static final class Pool implements AutoCloseable {
        private final ConcurrentLinkedQueue<Connection> idle = new ConcurrentLinkedQueue<>();
        private final String host;
        private final int port;

        Pool(String host, int port) throws IOException {
            this.host = host;
            this.port = port;
            idle.add(new Connection(host, port));
        }

        String get(String key) throws IOException {
            Connection connection = idle.poll();
            if (connection == null) {
                connection = new Connection(host, port);
            }
            try {
                String value = connection.get(key);
                idle.add(connection);
                return value;
            } catch (IOException e) {
                connection.close();
                throw e;
            }
        }

        /** Nothing uses it any more. */
        @Override
        public void close() throws IOException {
            for (Connection connection = idle.poll(); connection != null; connection = idle.poll()) {
                connection.close();
            }
        }
    }

    private static final class Connection implements AutoCloseable {
        private static final int TIMEOUT_MS = 2000;
        private final Socket socket = new Socket();
        private final BufferedReader input;

        Connection(String host, int port) throws IOException {
            socket.connect(new InetSocketAddress(host, port), TIMEOUT_MS);
            socket.setSoTimeout(TIMEOUT_MS);
            socket.setTcpNoDelay(true);
            input = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        }

        String get(String key) throws IOException {
            socket.getOutputStream().write(("GET " + key + "\r\n").getBytes(StandardCharsets.UTF_8));
            String head = input.readLine();
            String value = head != null && head.startsWith("$") ? input.readLine() : null;
            if (value == null) {
                throw new IOException("the node answered " + head);
            }
            return value;
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    /** A node that does not answer is left out, with the reason, and tried again; the others go live. */
    @Override
    public void prepare(Run run) {
        for (Change change : run.changes()) {
            if (change.kind() != Change.Kind.REMOVED) {
                try {
                    run.setNodeData(change.id(), new Pool(change.entry().host(), change.entry().port()));
                } catch (IOException e) {
                    run.reject(change.id(), e.toString());
                }
            }
        }
    }

    private final AtomicInteger turn = new AtomicInteger();

    /** From the node whose turn it is; from the next one, if it does not answer. */
    private String ask(NodeSet nodes) throws IOException {
        int first = turn.getAndIncrement();
        IOException failure = new IOException("there is no node");
        for (int i = 0; i < nodes.nodes().size(); i++) {
            Node node = nodes.nodes().get(Math.floorMod(first + i, nodes.nodes().size()));
            try {
                String value = node.data(Pool.class).get("greeting");
                node.report();
                return value;
            } catch (IOException e) {
                node.report(e);
                failure = e;
            }
        }
        throw failure;
    }

    private void answer(Safestart handle, HttpExchange exchange) throws IOException {
        int code = 200;
        String text;
        try (Held held = handle.hold()) {
            text = ask(held.nodes());
        } catch (IOException e) {
            code = 503;
            text = e.toString();
        }
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(code, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    public static void main(String[] arguments) throws Exception {
        Api api = new Api();
        Safestart handle = Safestart.open(
                Map.of(
                        "source", "file:" + System.getenv("SAFESTART_NODES"),
                        "control", System.getenv("SAFESTART_CONTROL"),
                        "name", "api",
                        "debounce", "20ms",
                        "max_shrink", "70%"),
                api);
        handle.ready().get();
        InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[0]));
        HttpServer server = HttpServer.create(address, 0);
        server.createContext("/", exchange -> api.answer(handle, exchange));
        server.setExecutor(Executors.newFixedThreadPool(THREADS));
        server.start();
        System.out.println("listening");
    }
}
