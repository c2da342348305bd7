--TEST--
exit() in prepare, with a run left open, and with a signal
--EXTENSIONS--
safestart
--FILE--
<?php
require __DIR__ . "/helper.inc";
function ends(string $script): void
{
    $command = [PHP_BINARY, '-d', 'extension=' . getenv('SAFESTART_SO'), '-r', 'require "' . __DIR__ . '/helper.inc";' . $script];
    exec(implode(' ', array_map(escapeshellarg(...), $command)) . ' 2>&1', $lines, $code);
    echo $code, ' ', implode('|', $lines), "\n";
}
ends('$ss = Safestart\open(SETTINGS, fn () => exit(3)); push($ss, ["a" => "10.0.0.1:1"]);');
ends('$ss = Safestart\open(SETTINGS, fn ($run) => $run->later() ?? $GLOBALS["open"] = $run); $ss->replace(set(["a" => "10.0.0.1:1"]));
    until($ss, fn () => isset($GLOBALS["open"])); exit(4);');
ends('$ss = Safestart\open(SETTINGS, connect(...)); push($ss, ["a" => "10.0.0.1:1"]); $node = $ss->nodes["a"]; throw new Exception("oops");');
ends('$ss = Safestart\open(SETTINGS, fn () => str_repeat("x", PHP_INT_MAX >> 20)); ini_set("memory_limit", "8M"); push($ss, ["a" => "10.0.0.1:1"]);');
ends('$ss = Safestart\open(SETTINGS, connect(...)); push($ss, ["a" => "10.0.0.1:1"]); $ss = null; gc_collect_cycles();
    $ss = Safestart\open(SETTINGS, connect(...)); echo $ss->generation;');
ends('function f() { $ss = Safestart\open(SETTINGS, function ($run) use (&$ss) { $run->x = $run; }); push($ss, ["a" => "10.0.0.1:1"]); } f(); echo "end";');
?>
--EXPECTF--
3 
4 
255 %AUncaught Exception: oops%A
255 %AAllowed memory size%A
0 1
0 end
