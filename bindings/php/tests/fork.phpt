--TEST--
A child goes on with data of its own; start=after_fork starts nothing before
--EXTENSIONS--
safestart
pcntl
--FILE--
<?php
require __DIR__ . "/helper.inc";
function in_child(callable $do): void
{
    $pid = pcntl_fork();
    if ($pid === 0) {
        $do();
        exit(0);
    }
    pcntl_waitpid($pid, $status);
    echo 'ended ', pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'by signal ' . pcntl_wtermsig($status), "\n";
}
$ss = Safestart\open(SETTINGS, connect(...));
push($ss, ['a' => '10.0.0.1:1']);
echo $ss->nodes['a']->data->name, "\n";
in_child(function () use ($ss) {
    var_dump($ss->nodes['a']->data);
    echo $ss->wait($ss->request())->verdict->name, ' ', $ss->nodes['a']->data->name, "\n";
});
in_child(function () use ($ss) {
    $ss->afterFork(['name' => 'worker']);
    echo str_contains($ss->metrics(), 'name="worker"') ? "named\n" : "not named\n";
});
push($ss, ['a' => '10.0.0.1:2']);
until_closed($ss, 'a@1');
$late = Safestart\open(SETTINGS + ['start' => 'after_fork'], fn () => print("prepared\n"));
$ticket = $late->replace(set(['a' => '10.0.0.1:1']));
try {
    $late->wait($ticket);
} catch (Safestart\Exception $e) {
    echo $e->getCode(), "\n";
}
in_child(function () use ($late, $ticket) {
    echo $late->wait($ticket)->verdict->name, "\n";
});
$late->afterFork();
echo $late->wait($ticket)->verdict->name, "\n";
$ss->close();
?>
--EXPECTF--
a@1
NULL
Applied a@1
ended 0
named
ended 0
closed a@1
11
prepared
Applied
ended 0
prepared
Applied
closed a@2
