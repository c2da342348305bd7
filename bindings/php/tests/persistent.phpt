--TEST--
A handle stays over the requests of a process, objects do not, strings do
--EXTENSIONS--
safestart
--FILE--
<?php
$port = stream_socket_server('tcp://127.0.0.1:0');
$address = stream_socket_get_name($port, false);
fclose($port);
$command = [PHP_BINARY, '-d', 'extension=' . getenv('SAFESTART_SO'), '-d', 'display_errors=1', '-d', 'safestart.settings="debounce=0; retry_min=0; name=kept"', '-S', $address, __DIR__ . '/persistent.inc'];
$server = proc_open($command, [2 => ['file', '/dev/null', 'w']], $pipes, null, ['PHP_CLI_SERVER_WORKERS' => ''] + getenv());
for ($end = hrtime(true) + 60e9; !($probe = @stream_socket_client("tcp://$address")) && hrtime(true) < $end;) {
    usleep(1000);
}
fclose($probe);
foreach (['push', 'name', 'look', 'object', 'look', 'fatal', 'look', 'close', 'look'] as $what) {
    echo "$what: ", file_get_contents("http://$address/$what", context: stream_context_create(['http' => ['ignore_errors' => true]])), "\n";
}
proc_terminate($server);
proc_close($server);
?>
--EXPECTF--
push: Applied 1 string
name: kept
look: 1 string
object: Applied 2 Connection
look: 2 NULL
fatal: %Aoops%A
look: 2 NULL
close: closed
look: 0 none
