#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program for Java, with the jar that Maven builds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
built=$BUILD/java/built
if [ ! -e "$built" ] || [ -n "$(find "$here"/{src/main,conformance,pom.xml} -newer "$built")" ]; then
	command -v mvn >/dev/null || "$here/../../tests/install-packages" openjdk-17-jdk-headless maven
	# The commands wait on standard input meanwhile.
	mvn -q -B -ntp -f "$here/pom.xml" "-Dsafestart.target=$BUILD/java" -Dmaven.test.skip=true package </dev/null >&2
	javac -nowarn -cp "$BUILD/java/safestart-1.0.0.jar" -d "$BUILD/java/conformance" "$here/conformance/Conformance.java" >&2
	touch "$built"
fi
# Little memory, so that what grows is seen early.
exec java -Xmx64m -XX:+UseSerialGC "-XX:ErrorFile=${TMPDIR:-/tmp}/hs_err_pid%p.log" \
	-cp "$BUILD/java/safestart-1.0.0.jar:$BUILD/java/conformance" org.libsafestart.Conformance
