// SPDX-License-Identifier: LGPL-2.1-or-later
/* native: the functions of Native.java. Strings are bytes, UTF-8 with a NUL at the end: JNI's own
 * "UTF-8" is another one. Nothing is thrown here: results are -errno, words go into `why`. No
 * thread of the library ever gets here, only those of the virtual machine. */
#include <errno.h>
#include <jni.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NATIVE(type, name) JNIEXPORT type JNICALL Java_org_libsafestart_Native_##name

struct handle {
	struct safestart *ss;
	int wake; /* an eventfd: ends the poll of the thread that takes events */
};

static struct handle *handle_of(jlong handle)
{
	return (struct handle *)(uintptr_t)handle;
}

static struct safestart *ss_of(jlong handle)
{
	return handle_of(handle)->ss;
}

static struct safestart_run *run_of(jlong run)
{
	return (struct safestart_run *)(uintptr_t)run;
}

/* A copy, freed by free(). NULL: `bytes` is NULL, or no memory, which the library refuses as it
 * refuses NULL. */
static char *text_of(JNIEnv *env, jbyteArray bytes)
{
	jsize length;
	char *text;

	if (bytes == NULL)
		return NULL;
	length = (*env)->GetArrayLength(env, bytes);
	text = malloc((size_t)length + 1);
	if (text == NULL)
		return NULL;
	(*env)->GetByteArrayRegion(env, bytes, 0, length, (jbyte *)text);
	text[length] = '\0';
	return text;
}

static jbyteArray bytes_of(JNIEnv *env, const char *text)
{
	jsize length = text != NULL ? (jsize)strlen(text) : 0;
	jbyteArray bytes = text != NULL ? (*env)->NewByteArray(env, length) : NULL;

	if (bytes != NULL)
		(*env)->SetByteArrayRegion(env, bytes, 0, length, (const jbyte *)text);
	return bytes;
}

static jbyteArray take(JNIEnv *env, char *text)
{
	jbyteArray bytes = bytes_of(env, text);

	safestart_free(text);
	return bytes;
}

/* Words for the caller: the array of one element is the caller's. */
static void say(JNIEnv *env, jobjectArray why, const char *text)
{
	(*env)->SetObjectArrayElement(env, why, 0, bytes_of(env, text));
}

/* As Outcome.java reads them. */
static void tell_outcome(JNIEnv *env, const struct safestart_outcome *outcome, jlongArray numbers,
			 jsize from)
{
	const jlong told[] = {outcome->verdict,         outcome->error,
			      (jlong)outcome->run,      (jlong)outcome->generation,
			      (jlong)outcome->requests, outcome->attempts,
			      outcome->quarantined,     (jlong)outcome->ticket,
			      outcome->status,          outcome->pid,
			      (jlong)outcome->merged};

	(*env)->SetLongArrayRegion(env, numbers, from, sizeof(told) / sizeof(told[0]), told);
}

NATIVE(jbyteArray, version)(JNIEnv *env, jclass class)
{
	(void)class;
	return bytes_of(env, safestart_version());
}

NATIVE(jbyteArray, strerror)(JNIEnv *env, jclass class, jint error)
{
	(void)class;
	return bytes_of(env, safestart_strerror(error));
}

static int configure(JNIEnv *env, struct safestart_conf *conf, jobjectArray settings, char *why,
		     size_t why_size)
{
	jsize count = (*env)->GetArrayLength(env, settings);
	int result = 0;

	for (jsize i = 0; i + 1 < count && result == 0; i += 2) {
		jobject key = (*env)->GetObjectArrayElement(env, settings, i);
		jobject value = (*env)->GetObjectArrayElement(env, settings, i + 1);
		char *key_text = text_of(env, key), *value_text = text_of(env, value);

		result = safestart_conf_set(conf, key_text, value_text, why, why_size);
		free(key_text);
		free(value_text);
		(*env)->DeleteLocalRef(env, key);
		(*env)->DeleteLocalRef(env, value);
	}
	return result < 0 ? result : safestart_conf_set(conf, "events", "pull", why, why_size);
}

/* Returns a handle, or -errno (addresses of user space are positive). */
NATIVE(jlong, open)(JNIEnv *env, jclass class, jobjectArray settings, jobjectArray why_out)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct handle *h = malloc(sizeof(*h));
	char why[512] = "";
	int result = -ENOMEM;

	(void)class;
	if (conf == NULL || h == NULL)
		goto fail;
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake < 0) {
		result = -errno;
		goto fail;
	}
	result = configure(env, conf, settings, why, sizeof(why));
	if (result == 0)
		result = safestart_open(&h->ss, conf, why, sizeof(why));
	if (result < 0) {
		close(h->wake);
		goto fail;
	}
	safestart_conf_free(conf);
	return (jlong)(uintptr_t)h;
fail:
	say(env, why_out, why);
	safestart_conf_free(conf);
	free(h);
	return result;
}

/* 0: the handle is gone. */
NATIVE(jint, close)(JNIEnv *env, jclass class, jlong handle)
{
	struct handle *h = handle_of(handle);
	int result = safestart_close(h->ss);

	(void)env;
	(void)class;
	if (result == 0) {
		close(h->wake);
		free(h);
	}
	return result;
}

NATIVE(jint, shutdown)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	return safestart_shutdown(ss_of(handle));
}

/* Until an event waits, or wake() was called. */
NATIVE(void, poll)(JNIEnv *env, jclass class, jlong handle)
{
	struct handle *h = handle_of(handle);
	struct pollfd fds[] = {{.fd = safestart_event_fd(h->ss), .events = POLLIN},
			       {.fd = h->wake, .events = POLLIN}};

	(void)env;
	(void)class;
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
}

/* Once and for all: the thread that takes events is to end. */
NATIVE(void, wake)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	eventfd_write(handle_of(handle)->wake, 1);
}

/* numbers: kind, level, run number, run, key, then the outcome's; text[0]: a line or a message. */
NATIVE(jint, nextEvent)
(JNIEnv *env, jclass class, jlong handle, jlongArray numbers, jobjectArray text)
{
	struct safestart_event event = {.size = sizeof(event)};
	int result = safestart_next_event(ss_of(handle), &event);
	const jlong told[] = {event.kind, event.level, (jlong)event.run_number,
			      (jlong)(uintptr_t)event.run, (jlong)event.key};

	(void)class;
	if (result != 1)
		return result;
	(*env)->SetLongArrayRegion(env, numbers, 0, sizeof(told) / sizeof(told[0]), told);
	if (event.outcome != NULL)
		tell_outcome(env, event.outcome, numbers, sizeof(told) / sizeof(told[0]));
	if (event.text != NULL)
		say(env, text, event.text);
	return result;
}

NATIVE(jint, afterForkSet)
(JNIEnv *env, jclass class, jlong handle, jbyteArray key, jbyteArray value, jobjectArray why_out)
{
	char *key_text = text_of(env, key), *value_text = text_of(env, value), why[512];
	int result =
		safestart_after_fork_set(ss_of(handle), key_text, value_text, why, sizeof(why));

	(void)class;
	free(key_text);
	free(value_text);
	if (result < 0)
		say(env, why_out, why);
	return result;
}

NATIVE(jint, afterFork)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	return safestart_after_fork(ss_of(handle));
}

NATIVE(jlong, request)(JNIEnv *env, jclass class, jlong handle, jint flags, jbyteArray reason)
{
	char *text = text_of(env, reason);
	uint64_t ticket = safestart_request(ss_of(handle), (uint32_t)flags, text);

	(void)class;
	free(text);
	return (jlong)ticket;
}

/* Those that follow return a ticket, or -errno. */
NATIVE(jlong, replace)
(JNIEnv *env, jclass class, jlong handle, jbyteArray json, jobjectArray why_out)
{
	char *text = text_of(env, json), why[512];
	uint64_t ticket = 0;
	int result = safestart_nodes_replace(ss_of(handle), text, &ticket, why, sizeof(why));

	(void)class;
	free(text);
	if (result == 0)
		return (jlong)ticket;
	say(env, why_out, why);
	return result;
}

NATIVE(jlong, announce)
(JNIEnv *env, jclass class, jlong handle, jbyteArray id, jbyteArray address, jbyteArray incarnation)
{
	char *id_text = text_of(env, id), *address_text = text_of(env, address);
	char *incarnation_text = text_of(env, incarnation);
	uint64_t ticket = 0;
	int result = safestart_node_announce(ss_of(handle), id_text, address_text, incarnation_text,
					     &ticket);

	(void)class;
	free(id_text);
	free(address_text);
	free(incarnation_text);
	return result < 0 ? result : (jlong)ticket;
}

NATIVE(jlong, withdraw)(JNIEnv *env, jclass class, jlong handle, jbyteArray id)
{
	char *text = text_of(env, id);
	uint64_t ticket = 0;
	int result = safestart_node_withdraw(ss_of(handle), text, &ticket);

	(void)class;
	free(text);
	return result < 0 ? result : (jlong)ticket;
}

NATIVE(jint, tryWait)
(JNIEnv *env, jclass class, jlong handle, jlong ticket, jlongArray numbers, jobjectArray message)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_try_wait(ss_of(handle), (uint64_t)ticket, &outcome);

	(void)class;
	if (result == 0) {
		tell_outcome(env, &outcome, numbers, 0);
		say(env, message, outcome.message);
	}
	return result;
}

NATIVE(jint, ready)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	return safestart_wait_ready(ss_of(handle), 0);
}

NATIVE(jint, state)(JNIEnv *env, jclass class, jlong handle, jbyteArray id, jobjectArray why_out)
{
	char *text = text_of(env, id), why[512] = "";
	int result = safestart_node_state(ss_of(handle), text, why, sizeof(why));

	(void)class;
	free(text);
	say(env, why_out, why);
	return result;
}

NATIVE(jbyteArray, status)(JNIEnv *env, jclass class, jlong handle)
{
	(void)class;
	return take(env, safestart_status_json(ss_of(handle)));
}

NATIVE(jbyteArray, metrics)(JNIEnv *env, jclass class, jlong handle)
{
	(void)class;
	return take(env, safestart_metrics_text(ss_of(handle)));
}

NATIVE(jlong, generation)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	return (jlong)safestart_generation(ss_of(handle));
}

/* ---- Snapshots: owned, or a run's candidate ---- */

NATIVE(jlong, acquire)(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	return (jlong)(uintptr_t)safestart_snapshot_acquire(ss_of(handle));
}

NATIVE(void, release)(JNIEnv *env, jclass class, jlong snapshot)
{
	(void)env;
	(void)class;
	safestart_snapshot_release((struct safestart_snapshot *)(uintptr_t)snapshot);
}

NATIVE(jlong, candidate)(JNIEnv *env, jclass class, jlong run)
{
	(void)env;
	(void)class;
	return (jlong)(uintptr_t)safestart_run_candidate(run_of(run));
}

static const struct safestart_snapshot *snapshot_of(jlong snapshot)
{
	return (const struct safestart_snapshot *)(uintptr_t)snapshot;
}

NATIVE(jbyteArray, nodes)(JNIEnv *env, jclass class, jlong snapshot)
{
	(void)class;
	return take(env, safestart_snapshot_json(snapshot_of(snapshot)));
}

/* The set's generation and key, then the key of each node, in the order of nodes(). */
NATIVE(jlongArray, keys)(JNIEnv *env, jclass class, jlong snapshot)
{
	const struct safestart_snapshot *nodes = snapshot_of(snapshot);
	size_t size = safestart_snapshot_size(nodes);
	jlong *key = malloc((size + 2) * sizeof(*key));
	jlongArray keys = key != NULL ? (*env)->NewLongArray(env, (jsize)(size + 2)) : NULL;

	(void)class;
	if (keys != NULL) {
		key[0] = (jlong)safestart_snapshot_generation(nodes);
		key[1] = (jlong)safestart_snapshot_key(nodes);
		for (size_t i = 0; i < size; i++)
			key[i + 2] = (jlong)safestart_node_key(safestart_snapshot_at(nodes, i));
		(*env)->SetLongArrayRegion(env, keys, 0, (jsize)(size + 2), key);
	}
	free(key);
	return keys;
}

NATIVE(void, report)(JNIEnv *env, jclass class, jlong snapshot, jint index, jint error)
{
	(void)env;
	(void)class;
	safestart_node_report(safestart_snapshot_at(snapshot_of(snapshot), (size_t)index), error);
}

/* ---- Runs ---- */

NATIVE(jbyteArray, runChanges)(JNIEnv *env, jclass class, jlong run)
{
	(void)class;
	return take(env, safestart_run_changes_json(run_of(run)));
}

NATIVE(jint, runReject)(JNIEnv *env, jclass class, jlong run, jbyteArray id, jbyteArray reason)
{
	char *id_text = text_of(env, id), *reason_text = text_of(env, reason);
	int result = safestart_run_reject(run_of(run), id_text, reason_text);

	(void)class;
	free(id_text);
	free(reason_text);
	return result;
}

NATIVE(jint, runSetNodeKey)(JNIEnv *env, jclass class, jlong run, jbyteArray id, jlong key)
{
	char *text = text_of(env, id);
	int result = safestart_run_set_node_key(run_of(run), text, (uint64_t)key);

	(void)class;
	free(text);
	return result;
}

NATIVE(jint, runSetKey)(JNIEnv *env, jclass class, jlong run, jlong key)
{
	(void)env;
	(void)class;
	return safestart_run_set_key(run_of(run), (uint64_t)key);
}

NATIVE(void, runSetStatus)(JNIEnv *env, jclass class, jlong run, jint status)
{
	(void)env;
	(void)class;
	safestart_run_set_status(run_of(run), status);
}

/* error 0: it went well. The run is gone. */
NATIVE(void, runFinish)(JNIEnv *env, jclass class, jlong run, jint error, jbyteArray message)
{
	char *text = text_of(env, message);

	(void)class;
	if (error == 0)
		safestart_run_finish(run_of(run), 0);
	else
		safestart_run_fail(run_of(run), error, text);
	free(text);
}
