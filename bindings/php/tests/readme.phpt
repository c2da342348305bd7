--TEST--
The first example of the README runs
--EXTENSIONS--
safestart
--FILE--
<?php
preg_match('/^```php\n<\?php(.*?)^```/ms', file_get_contents(__DIR__ . '/../README.md'), $example);
eval($example[1]);
?>
--EXPECT--
generation 1 is live: 1 nodes (1 added, 0 removed, 0 changed)
10.0.0.1
closed 10.0.0.1
