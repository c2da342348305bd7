--TEST--
A wait ends by its time, by a signal handler and by a shutdown
--EXTENSIONS--
safestart
pcntl
--FILE--
<?php
require __DIR__ . "/helper.inc";
pcntl_async_signals(true);
pcntl_signal(SIGALRM, fn () => throw new RuntimeException('by the handler'));
foreach ([null, fn () => null] as $prepare) {
    $ss = Safestart\open(['debounce' => '1h', 'max_delay' => '1h'], $prepare);
    var_dump($ss->waitReady(0.01));
    $ticket = $ss->request();
    var_dump($ss->wait($ticket, 0), $ss->wait($ticket, 0.01));
    pcntl_alarm(1);
    try {
        $ss->wait($ticket);
    } catch (RuntimeException $e) {
        echo $e->getMessage(), "\n";
    }
    try {
        $ss->wait($ticket + 9);
    } catch (Safestart\Exception $e) {
        echo $e->getCode(), "\n";
    }
    $ss->shutdown();
    echo $ss->wait($ticket)->verdict->name, "\n";
    $ss->close();
    try {
        $ss->request();
    } catch (Safestart\Exception $e) {
        echo $e->getMessage(), "\n";
    }
}
foreach ([null, fn () => null] as $prepare) {
    $ss = Safestart\open(SETTINGS, $prepare);
    $ss->replace(set(['a' => '10.0.0.1:1']));
    var_dump($ss->waitReady(60), count($ss->nodes));
}
?>
--EXPECT--
bool(false)
NULL
NULL
by the handler
22
Cancelled
the handle is closed
bool(false)
NULL
NULL
by the handler
22
Cancelled
the handle is closed
bool(true)
int(1)
bool(true)
int(1)
