--TEST--
What prepare and restart throw, reject and set is in the outcome
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
$act = fn ($run) => throw new RuntimeException('no route to riak-2');
$ss = Safestart\open(SETTINGS, function ($run) use (&$act) {
    $act($run);
}, fn ($run) => $run->setStatus(7), fn () => null);
$outcome = push($ss, ['a' => '10.0.0.1:1']);
echo $outcome->verdict->name, ' ', $outcome->code, ' ', $outcome->message, "\n";
$act = function ($run) use (&$kept) {
    $kept = $run;
    $run->reject('b', 'not this one');
    foreach ($run->changes() as $change) {
        echo "$change->kind $change->id {$change?->was?->port}\n";
    }
};
$outcome = push($ss, ['a' => '10.0.0.1:1', 'b' => '10.0.0.2:1']);
echo $outcome->verdict->name, ' ', $outcome->status, ' ', implode(' ', array_keys($ss->nodes)), "\n";
$state = $ss->state('b');
echo $state->state->name, ' ', $state->why, "\n";
push($ss, ['a' => '10.0.0.1:2', 'b' => '10.0.0.2:1']);
var_dump($kept->cancelled());
foreach (['number', 'changes', 'finish'] as $method) {
    try {
        $kept->$method();
    } catch (Safestart\Exception $e) {
        echo $e->getCode(), ' ', $e->getMessage(), "\n";
    }
}
$act = fn () => $ss->wait($ss->request());
echo push($ss, ['c' => '10.0.0.1:2'])->message, "\n";
$act = fn ($run) => $run->later() ?? $run->fail('by hand');
echo push($ss, ['c' => '10.0.0.1:2'])->message, "\n";
?>
--EXPECTF--
Failed -5 %Sprepare failed: RuntimeException: no route to riak-2%S
added a 
added b 
Applied 7 a
Quarantined %Snot this one%S
changed a 1
added b 
bool(true)
116 the run is over
116 the run is over
116 the run is over
%Sprepare failed: Safestart\Exception: a wait inside prepare, restart, close or log would wait for itself%S
%Sprepare failed: by hand%S
