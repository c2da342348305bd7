--TEST--
Reports are about the entry
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
$ss = Safestart\open(SETTINGS + ['name' => 'api']);
push($ss, ['a' => '10.0.0.1:1']);
$old = $ss->nodes['a'];
$show = fn () => print($ss->state('a')->state->name . "\n");
$show();
$ss->report('a');
$show();
$ss->report($old, 111);
$show();
push($ss, ['a' => '10.0.0.1:1', 'b' => '10.0.0.2:1']);
$ss->report($old); // the same entry, in a newer generation
$show();
push($ss, ['a' => '10.0.0.1:2']);
$ss->report($old); // not the same any more
$show();
$ss->report('nobody');
echo json_decode($ss->status())->generation, ' ', str_contains($ss->metrics(), 'safestart_generation{name="api"} 3') ? 'yes' : 'no', "\n";
?>
--EXPECT--
Applied
Proven
Failing
Proven
Applied
3 yes
