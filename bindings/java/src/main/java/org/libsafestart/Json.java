// SPDX-License-Identifier: LGPL-2.1-or-later
package org.libsafestart;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads the documents that the library writes, so that this jar needs no other one: Map, List, String, Long, Double, Boolean and null.
 * Not for what others write: it does not find every mistake.
 */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        return new Json(text).value();
    }

    static Map<String, String> strings(Object object) {
        Map<String, String> strings = new LinkedHashMap<>();
        ((Map<?, ?>) object).forEach((key, value) -> strings.put((String) key, (String) value));
        return Collections.unmodifiableMap(strings);
    }

    static Map<String, String> without(Map<String, String> map, String key) {
        Map<String, String> rest = new LinkedHashMap<>(map);
        rest.remove(key);
        return Collections.unmodifiableMap(rest);
    }

    private char next() {
        while (Character.isWhitespace(text.charAt(at))) {
            at++;
        }
        return text.charAt(at);
    }

    private boolean skip(char wanted) {
        if (next() != wanted) {
            return false;
        }
        at++;
        return true;
    }

    private Object value() {
        return switch (next()) {
            case '{' -> object();
            case '[' -> array();
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Object word(String word, Object value) {
        at += word.length();
        return value;
    }

    private Map<String, Object> object() {
        Map<String, Object> object = new LinkedHashMap<>();
        at++;
        while (!skip('}')) {
            skip(',');
            next();
            String key = string();
            skip(':');
            object.put(key, value());
        }
        return Collections.unmodifiableMap(object);
    }

    private List<Object> array() {
        List<Object> array = new ArrayList<>();
        at++;
        while (!skip(']')) {
            skip(',');
            array.add(value());
        }
        return Collections.unmodifiableList(array);
    }

    private Object number() {
        int from = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String number = text.substring(from, at);
        return number.matches("-?\\d+") ? (Object) Long.valueOf(number) : (Object) Double.valueOf(number);
    }

    private String string() {
        StringBuilder string = new StringBuilder();
        at++;
        for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
            string.append(c == '\\' ? escaped() : c);
        }
        return string.toString();
    }

    private char escaped() {
        char c = text.charAt(at++);
        if (c == 'u') {
            at += 4;
            return (char) Integer.parseInt(text.substring(at - 4, at), 16);
        }
        int special = "bfnrt".indexOf(c);
        return special < 0 ? c : "\b\f\n\r\t".charAt(special);
    }
}
