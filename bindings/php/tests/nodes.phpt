--TEST--
Nodes are pushed, found and kept while they stay the same
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
$ss = Safestart\open(SETTINGS, connect(...));
echo push($ss, ['a' => '10.0.0.1:1', 7 => '[::1]:2'])->verdict->name, ' ', $ss->generation, "\n";
foreach ($ss->nodes as $id => $node) {
    echo "$id $node->id $node->host $node->port {$node->data->name}\n";
}
$seven = $ss->nodes['7'];
push($ss, ['a' => '10.0.0.1:9', 7 => '[::1]:2']);
until_closed($ss, 'a@1');
var_dump($seven === $ss->nodes['7'], $ss->nodes['b'] ?? 'none', $ss->lastOutcome()->ticket);
$ss->wait($ss->announce('b', '10.0.0.2:1', 'boot-7'));
var_dump($ss->nodes['b']->labels);
$ss->wait($ss->withdraw('b'));
until_closed($ss, 'b@1');
try {
    $ss->withdraw('b');
} catch (Safestart\Exception $e) {
    echo $e->getCode(), "\n";
}
try {
    $ss->nodes = [];
} catch (Error $e) {
    echo $e->getMessage(), "\n";
}
$ss->close();
?>
--EXPECT--
Applied 1
7 7 ::1 2 7@2
a a 10.0.0.1 1 a@1
closed a@1
bool(true)
string(4) "none"
int(2)
array(1) {
  ["incarnation"]=>
  string(6) "boot-7"
}
closed b@1
2
Cannot modify Safestart\Handle::$nodes
closed 7@2
closed a@9
