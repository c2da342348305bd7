--TEST--
A wrong setting is refused in words
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
try {
    Safestart\open(['debonce' => '1s']);
} catch (Safestart\Exception $e) {
    echo $e->getCode(), ' ', $e->getMessage(), "\n";
}
var_dump(Safestart\settings()['debounce']);
$closed = new Safestart\Handle();
try {
    $closed->nodes;
} catch (Safestart\Exception $e) {
    echo $e->getMessage(), "\n";
}
ini_set('safestart.settings', 'debounce=5ms; nonsense');
try {
    Safestart\open();
} catch (Safestart\Exception $e) {
    echo $e->getMessage(), "\n";
}
?>
--EXPECTF--
22 %Sdebounce%S
string(5) "100ms"
the handle is closed
%Snonsense%S
