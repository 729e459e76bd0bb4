// A secret backend in C: sets an environment variable from a Kubernetes Secret with a name prefix.
//
// `wit/types.wit` documents every record and edit; the build generates their C types in
// `bindings/plugin.h`. The answer is freed after the call, so it must be memory from `malloc`;
// arguments are such memory. The plugin frees nothing, because the host drops an instance after one
// pod.

#include "bindings/plugin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef plugin_string_t text;

// Set by `configure`, read by `inject`.
static text secret_prefix;
static text env_prefix;

static void *allocate(size_t size) {
  void *memory = malloc(size);
  if (!memory) abort();
  return memory;
}

// A view of a string literal. It must not be part of an answer, which is freed.
static text literal(const char *source) {
  text view;
  plugin_string_set(&view, source);
  return view;
}

static text concat(text first, text second) {
  text both = {allocate(first.len + second.len + 1), first.len + second.len};
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

void exports_ampoule_injector_injector_describe(ampoule_injector_types_plugin_info_t *info) {
  uint8_t *mounts = allocate(1);
  mounts[0] = AMPOULE_INJECTOR_TYPES_MOUNT_REQUIREMENT_ENV_VAR;
  info->mounts = (ampoule_injector_types_list_mount_requirement_t){mounts, 1};
  plugin_string_dup(&info->name, "example-plugin");
  plugin_string_dup(&info->version, "0.1.0");
  plugin_string_dup(&info->settings_schema, "{"
    "\"type\": \"object\","
    "\"properties\": { \"secretPrefix\": { \"type\": \"string\" } },"
    "\"additionalProperties\": false"
  "}");
}

bool exports_ampoule_injector_injector_configure(
    text *settings, ampoule_injector_types_conventions_t *conventions, text *error) {
  env_prefix = conventions->env_prefix;
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

bool exports_ampoule_injector_injector_inject(
    ampoule_injector_types_secret_request_t *request, ampoule_injector_types_pod_view_t *pod,
    exports_ampoule_injector_injector_list_edit_t *edits, ampoule_injector_types_injection_error_t *error) {
  if (request->group.len == 0 || request->key.len == 0) {
    error->tag = AMPOULE_INJECTOR_TYPES_INJECTION_ERROR_INVALID_REQUEST;
    plugin_string_dup(&error->val.invalid_request, "group and key must both be set");
    return false;
  }
  if (request->mount == AMPOULE_INJECTOR_TYPES_MOUNT_REQUIREMENT_FILE) {
    error->tag = AMPOULE_INJECTOR_TYPES_INJECTION_ERROR_UNSUPPORTED;
    plugin_string_dup(&error->val.unsupported, "files are not supported, only environment variables");
    return false;
  }
  text secret = concat(secret_prefix, request->group);
  // For the plugin's author. Never log the value of a secret.
  text line = concat(literal("sets a variable from Secret "), secret);
  ampoule_injector_log_log(AMPOULE_INJECTOR_LOG_LEVEL_DEBUG, &line);

  text name = concat(env_prefix, request->key);
  for (size_t i = env_prefix.len; i < name.len; i++) name.ptr[i] = toupper(name.ptr[i]);
  if (request->env_var.is_some) name = request->env_var.val;

  ampoule_injector_types_edit_t *edit = allocate(sizeof *edit);
  edit->tag = AMPOULE_INJECTOR_TYPES_EDIT_SET_ENV;
  edit->val.set_env.name = name;
  edit->val.set_env.source.tag = AMPOULE_INJECTOR_TYPES_ENV_SOURCE_SECRET_KEY;
  edit->val.set_env.source.val.secret_key = (ampoule_injector_types_secret_key_ref_t){secret, request->key, false};
  *edits = (exports_ampoule_injector_injector_list_edit_t){edit, 1};
  return true;
}
