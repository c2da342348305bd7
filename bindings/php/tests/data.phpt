--TEST--
What the application puts on a node stays as long as the entry; strings are persistent
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
$ss = Safestart\open(SETTINGS, function ($run) {
    foreach ($run->changes() as $change) {
        $run->set($change->id, "string of $change->id@$change->port");
    }
});
push($ss, ['a' => '10.0.0.1:1', 'b' => '10.0.0.2:1']);
echo $ss->nodes['a']->data, "\n";
$ss->nodes['a']->data = new Connection('own');
push($ss, ['a' => '10.0.0.1:1', 'b' => '10.0.0.2:2']);
echo $ss->nodes['a']->data->name, ', ', $ss->nodes['b']->data, "\n";
push($ss, ['a' => '10.0.0.1:3', 'b' => '10.0.0.2:2']);
echo $ss->nodes['a']->data, "\n";
try {
    $ss->nodes['a']->data = null;
    $run = new Safestart\Run();
    $run->set('a', 7);
} catch (TypeError $e) {
    echo $e->getMessage(), "\n";
}
?>
--EXPECT--
string of a@1
own, string of b@2
string of a@3
Safestart\Run::set(): Argument #2 ($data) must be of type object|string, int given
