{{/* Names. */}}
{{- define "ampoule.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters leave room for the longest ending of ours. */}}
{{- define "ampoule.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "ampoule.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ampoule.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ampoule.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ampoule.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ampoule.labels" -}}
{{ include "ampoule.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ampoule.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ampoule.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ampoule.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What is in force: the configuration with the names of the release filled in, as YAML. */}}
{{- define "ampoule.config" -}}
{{- $name := include "ampoule.fullname" . }}
{{- $selfManaged := eq .Values.certificates.mode "self-managed" }}
{{- $registration := dict "enabled" $selfManaged "name" $name "serviceName" $name "servicePort" .Values.service.port }}
{{- $certificates := dict "secretName" (include "ampoule.secretName" .) "copyToCertDir" $selfManaged }}
{{- /* Below the volume, as Ampoule wants a folder that nobody else may enter. */}}
{{- $engine := dict "cacheDirectory" "/var/cache/ampoule/plugins" }}
{{- $ours := dict "registration" $registration "certificates" $certificates "engine" $engine }}
{{- $config := mergeOverwrite $ours (deepCopy .Values.config) }}
{{- if eq .Values.certificates.mode "cert-manager" }}
{{- $_ := set $config.registration "enabled" false }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "ampoule.secretName" -}}
{{- if .Values.certificates.secretName }}
{{- .Values.certificates.secretName }}
{{- else if .Values.flyte.enabled }}
{{- include "ampoule.fullname" . }}
{{- else }}
{{- printf "%s-tls" (include "ampoule.fullname" .) }}
{{- end }}
{{- end }}

{{/* The Secret that Ampoule keeps: the configuration's word is the last. */}}
{{- define "ampoule.keptSecretName" -}}
{{- if .Values.flyte.enabled }}
{{- include "ampoule.secretName" . }}
{{- else }}
{{- (include "ampoule.config" . | fromYaml).certificates.secretName }}
{{- end }}
{{- end }}

{{/* "true" if the process makes its own certificate, and so needs the Secret. */}}
{{- define "ampoule.selfManaged" -}}
{{- if eq .Values.certificates.mode "self-managed" }}true{{ end }}
{{- end }}

{{/* "true" if the process registers itself, and so needs the MutatingWebhookConfiguration. */}}
{{- define "ampoule.registers" -}}
{{- if eq .Values.certificates.mode "cert-manager" }}
{{- else if .Values.flyte.enabled }}
{{- if not (dig "webhook" "disableCreateMutatingWebhookConfig" false .Values.flyte.config) }}true{{ end }}
{{- else if (include "ampoule.config" . | fromYaml).registration.enabled }}true{{ end }}
{{- end }}

{{/* "true" if ConfigMaps bring plugins along, and the process lists and watches them. */}}
{{- define "ampoule.followsConfigMaps" -}}
{{- if not .Values.flyte.enabled }}
{{- if dig "plugins" "configMaps" false .Values.config }}true{{ end }}
{{- end }}
{{- end }}

{{/* "true" if the process asks the API server for anything, and so needs its token. */}}
{{- define "ampoule.usesApi" -}}
{{- if or (include "ampoule.selfManaged" .) (include "ampoule.registers" .) (include "ampoule.followsConfigMaps" .) }}true{{ end }}
{{- end }}

{{- define "ampoule.registrationName" -}}
{{- if .Values.flyte.enabled }}
{{- include "ampoule.fullname" . }}
{{- else }}
{{- (include "ampoule.config" . | fromYaml).registration.name }}
{{- end }}
{{- end }}

{{- define "ampoule.configMapName" -}}
{{- if and .Values.flyte.enabled .Values.flyte.existingConfigMap }}
{{- .Values.flyte.existingConfigMap }}
{{- else }}
{{- include "ampoule.fullname" . }}
{{- end }}
{{- end }}

{{/* The words of Flyte's program. Flags come over the files, so that the names are those of the release. */}}
{{- define "ampoule.flyteArgs" -}}
- --config=/etc/flyte/config/*.yaml
- --webhook.serviceName={{ include "ampoule.fullname" . }}
- --webhook.secretName={{ include "ampoule.secretName" . }}
- --webhook.certDir=/etc/webhook/certs
- --webhook.localCert={{ eq .Values.certificates.mode "self-managed" }}
{{- if eq .Values.certificates.mode "cert-manager" }}
- --webhook.disableCreateMutatingWebhookConfig
{{- end }}
{{- end }}

{{- define "ampoule.env" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ampoule.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Of objects that belong to no namespace: two releases of one name do not meet. */}}
{{- define "ampoule.clusterName" -}}
{{- $name := include "ampoule.fullname" . }}
{{- if eq .Release.Namespace $name }}
{{- $name }}
{{- else }}
{{- printf "%s-%s" .Release.Namespace $name }}
{{- end }}
{{- end }}
