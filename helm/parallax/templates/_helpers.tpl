{{- define "parallax.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "parallax.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "parallax.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "parallax.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What pods of a part of the release are found by: dict "root" . "part" "serve" */}}
{{- define "parallax.selector" -}}
app.kubernetes.io/name: {{ include "parallax.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "parallax.labels" -}}
{{ include "parallax.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "parallax.serviceAccount" -}}
{{- default (ternary (include "parallax.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "parallax.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default (printf "%s%s" .Chart.AppVersion (ternary "-gpu" "" (eq $image.variant "gpu"))) $image.tag -}}
{{- ternary (printf "%s@%s" $image.repository $image.digest) (printf "%s:%s" $image.repository $tag) (ne $image.digest "") -}}
{{- end -}}

{{/* The image of another role: dict "root" . "given" .Values.sweep.image "role" "train" */}}
{{- define "parallax.roleImage" -}}
{{- $repository := default .root.Values.image.repository .given.repository -}}
{{- $tag := default (printf "%s-%s" .root.Chart.AppVersion .role) .given.tag -}}
{{- ternary (printf "%s@%s" $repository .given.digest) (printf "%s:%s" $repository $tag) (ne .given.digest "") -}}
{{- end -}}

{{- define "parallax.replicated" -}}
{{- if or (ne .Values.autoscaling.kind "none") (gt (int .Values.replicaCount) 1) -}}true{{- end -}}
{{- end -}}

{{/* Name and key of a Secret, as YAML: dict "root" . "given" .Values.database "vault" "databaseUrl". Empty if there is none. */}}
{{- define "parallax.secret" -}}
{{- $root := .root -}}
{{- if and $root.Values.keyVault.enabled (index $root.Values.keyVault.secrets .vault) -}}
name: {{ include "parallax.fullname" $root }}-vault
key: {{ .given.key }}
{{- else if .given.existingSecret -}}
name: {{ .given.existingSecret }}
key: {{ .given.key }}
{{- else if eq .vault "apiKeys" -}}
name: {{ include "parallax.fullname" $root }}-api-keys
key: {{ .given.key }}
{{- end -}}
{{- end -}}

{{- define "parallax.keysInVault" -}}
{{- if and .Values.keyVault.enabled .Values.keyVault.secrets.apiKeys -}}true{{- end -}}
{{- end -}}

{{/* A file, and no variable: a child process would inherit that. */}}
{{- define "parallax.keysFile" -}}
{{- if include "parallax.keysInVault" . -}}
/var/run/vault/{{ .Values.keyVault.secrets.apiKeys }}
{{- else -}}
/etc/parallax/{{ .Values.apiKeys.key }}
{{- end -}}
{{- end -}}

{{- define "parallax.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "parallax.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* A setting of the service, or its default there: dict "root" . "name" "deadline_ms" "default" 30000 */}}
{{- define "parallax.setting" -}}
{{- dig .name .default .root.Values.settings | toJson -}}
{{- end -}}

{{/* What no schema can say, because it compares two values. */}}
{{- define "parallax.check" -}}
{{- $deadline := include "parallax.setting" (dict "root" . "name" "deadline_ms" "default" 30000) | float64 -}}
{{- if and (ne .Values.route.kind "none") (lt (mulf .Values.route.timeoutSeconds 1000) $deadline) -}}
{{- fail (printf "route.timeoutSeconds (%v) is less than settings.deadline_ms (%v ms): the route would give up first" .Values.route.timeoutSeconds $deadline) -}}
{{- end -}}
{{- if and (ne .Values.autoscaling.kind "none") (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
