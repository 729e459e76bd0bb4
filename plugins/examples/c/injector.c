// A secret backend in C: a variable from a Kubernetes Secret whose name has a prefix.
//
// `wit/types.wit` says what every record and edit means; the build writes them as C into `bindings/plugin.h`. What is answered is
// freed after the call, so it must be memory from `malloc`, as arguments are. Nothing else is freed: an instance answers one pod, and
// is gone after it.

#include "bindings/plugin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef plugin_string_t text;

// What `configure` leaves for `inject`.
static text secret_prefix;
static text env_prefix;

static void *memory(size_t size) {
  void *found = malloc(size);
  if (!found) abort();
  return found;
}

// A view of words in the source, which is not to be answered as it is.
static text words(const char *source) {
  text view;
  plugin_string_set(&view, source);
  return view;
}

static text joined(text first, text second) {
  text both = {memory(first.len + second.len + 1), first.len + second.len};
  memcpy(both.ptr, first.ptr, first.len);
  memcpy(both.ptr + first.len, second.ptr, second.len);
  both.ptr[both.len] = '\0';
  return both;
}

static bool is(text value, const char *source) {
  return value.len == strlen(source) && memcmp(value.ptr, source, value.len) == 0;
}

// The text in quotes at a place in JSON, as it is written there. The place moves behind it, and what separates it from the next.
static text quoted(const uint8_t **place) {
  text found = {(uint8_t *)*place + 1, 0};
  while (found.ptr[found.len] != '"') found.len += found.ptr[found.len] == '\\' ? 2 : 1;
  *place = found.ptr + found.len + 1;
  *place += strspn((const char *)*place, " :,");
  return found;
}

void exports_ampoule_injector_injector_describe(ampoule_injector_types_plugin_info_t *info) {
  uint8_t *mounts = memory(1);
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
  // The host writes the document, so it is well-formed: `{"key":"text"}`.
  const uint8_t *place = joined(*settings, words("")).ptr + 1;
  while (*place != '}') {
    text key = quoted(&place);
    if (!is(key, "secretPrefix")) {
      *error = joined(key, words(": is no setting; there is secretPrefix"));
      return false;
    }
    if (*place != '"') {
      plugin_string_dup(error, "secretPrefix: must be text");
      return false;
    }
    secret_prefix = quoted(&place);
    if (memchr(secret_prefix.ptr, '\\', secret_prefix.len)) {
      plugin_string_dup(error, "secretPrefix: must be what a Secret's name begins with");
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
    plugin_string_dup(&error->val.unsupported, "only environment variables, no files");
    return false;
  }
  text secret = joined(secret_prefix, request->group);
  // For the admin; never a secret's value.
  text line = joined(words("a variable from Secret "), secret);
  ampoule_injector_log_log(AMPOULE_INJECTOR_LOG_LEVEL_DEBUG, &line);

  text name = joined(env_prefix, request->key);
  for (size_t i = env_prefix.len; i < name.len; i++) name.ptr[i] = toupper(name.ptr[i]);
  if (request->env_var.is_some) name = request->env_var.val;

  ampoule_injector_types_edit_t *edit = memory(sizeof *edit);
  edit->tag = AMPOULE_INJECTOR_TYPES_EDIT_SET_ENV;
  edit->val.set_env.name = name;
  edit->val.set_env.source.tag = AMPOULE_INJECTOR_TYPES_ENV_SOURCE_SECRET_KEY;
  edit->val.set_env.source.val.secret_key = (ampoule_injector_types_secret_key_ref_t){secret, request->key, false};
  *edits = (exports_ampoule_injector_injector_list_edit_t){edit, 1};
  return true;
}
