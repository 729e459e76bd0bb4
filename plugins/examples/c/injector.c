// A secret backend in C: sets an environment variable from a Kubernetes Secret with a name prefix.
//
// `wit/` documents every method; the build generates their declarations in `bindings/plugin.h`. Texts
// that the plugin returns are freed after the call: `plugin_string_dup` copies them. The plugin frees
// nothing, because the host drops an instance after one pod.

#include "bindings/plugin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST(method) ampoule_injector_admission_method_request_##method

typedef plugin_string_t text;
typedef ampoule_injector_admission_borrow_pod_t pod;
typedef ampoule_injector_admission_borrow_request_t request;

// Set by `configure`, read by `inject`.
static text secret_prefix;

static text literal(const char *source) {
  text view;
  plugin_string_set(&view, source);
  return view;
}

static text concat(text first, text second) {
  text both = {malloc(first.len + second.len + 1), first.len + second.len};
  if (!both.ptr) abort();
  memcpy(both.ptr, first.ptr, first.len);
  memcpy(both.ptr + first.len, second.ptr, second.len);
  both.ptr[both.len] = '\0';
  return both;
}

static bool equals(text value, const char *source) {
  return value.len == strlen(source) && memcmp(value.ptr, source, value.len) == 0;
}

// Returns the JSON string at the cursor, without unescaping, and moves the cursor behind the string
// and its separators.
static text next_string(const uint8_t **cursor) {
  text string = {(uint8_t *)*cursor + 1, 0};
  while (string.ptr[string.len] != '"') string.len += string.ptr[string.len] == '\\' ? 2 : 1;
  *cursor = string.ptr + string.len + 1;
  *cursor += strspn((const char *)*cursor, " :,");
  return string;
}

void exports_ampoule_injector_injector_describe(text *description) {
  plugin_string_dup(description, "{"
    "\"name\": \"example-plugin\", \"version\": \"0.1.0\", \"deliveries\": [\"env-var\"],"
    "\"settingsSchema\": {"
      "\"type\": \"object\","
      "\"properties\": { \"secretPrefix\": { \"type\": \"string\" } },"
      "\"additionalProperties\": false"
    "}"
  "}");
}

bool exports_ampoule_injector_injector_configure(text *settings, text *error) {
  // The host serializes the document, so it is valid JSON: `{"key":"text"}`.
  const uint8_t *cursor = concat(*settings, literal("")).ptr + 1;
  while (*cursor != '}') {
    text key = next_string(&cursor);
    if (!equals(key, "secretPrefix")) {
      *error = concat(key, literal(": unknown setting, expected secretPrefix"));
      return false;
    }
    if (*cursor != '"') {
      plugin_string_dup(error, "secretPrefix: must be a string");
      return false;
    }
    secret_prefix = next_string(&cursor);
    if (memchr(secret_prefix.ptr, '\\', secret_prefix.len)) {
      plugin_string_dup(error, "secretPrefix: must be a valid prefix of a Secret's name");
      return false;
    }
  }
  return true;
}

static void refuse(void (*reason)(request, text *), request request, const char *message) {
  text view = literal(message);
  reason(request, &view);
}

void exports_ampoule_injector_injector_inject(pod pod, request request) {
  text group, key, name, error;
  REQUEST(group)(request, &group);
  REQUEST(key)(request, &key);
  if (group.len == 0 || key.len == 0) return refuse(REQUEST(invalid), request, "group and key must both be set");
  if (REQUEST(deliver_as)(request) == AMPOULE_INJECTOR_ADMISSION_DELIVERY_FILE)
    return refuse(REQUEST(unsupported), request, "files are not supported, only environment variables");

  text secret = concat(secret_prefix, group);
  // For the plugin's author. Never log the value of a secret.
  text line = concat(literal("sets a variable from Secret "), secret);
  ampoule_injector_log_log(AMPOULE_INJECTOR_LOG_LEVEL_DEBUG, &line);

  if (!REQUEST(env_var)(request, &name)) {
    text prefix;
    ampoule_injector_conventions_env_prefix(&prefix);
    name = concat(prefix, key);
    for (size_t i = prefix.len; i < name.len; i++) name.ptr[i] = toupper(name.ptr[i]);
  }
  if (!REQUEST(set_env_from_secret)(request, &name, &secret, &key, false, &error)) REQUEST(invalid)(request, &error);
}
