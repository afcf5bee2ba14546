{{- define "outboxd.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "outboxd.selector" -}}
app.kubernetes.io/name: outboxd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outboxd.labels" -}}
{{ include "outboxd.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "outboxd.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "outboxd.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "outboxd.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A variable whose value a secret has: name, secret. */}}
{{- define "outboxd.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .secret.name | quote }}, key: {{ .secret.key | quote }}}
{{- end }}

{{/*
The variables that name all databases. Kubernetes replaces each $(…) with the value of the
secret, so that no object of the chart has a URL. It only knows variables that come before.
*/}}
{{- define "outboxd.databases" -}}
{{- $entries := list }}
{{- range $name, $database := .Values.databases }}
{{- $variable := printf "DATABASE_%s" $name }}
{{ include "outboxd.secret" (dict "name" (printf "%s_URL" $variable) "secret" $database.url) }}
{{- $entries = append $entries (printf "%s=$(%s_URL)" $name $variable) }}
{{- with get $database "listenURL" }}
{{ include "outboxd.secret" (dict "name" (printf "%s_LISTEN_URL" $variable) "secret" .) }}
{{- $entries = append $entries (printf "%s.listen_url=$(%s_LISTEN_URL)" $name $variable) }}
{{- end }}
{{- with get $database "readURL" }}
{{ include "outboxd.secret" (dict "name" (printf "%s_READ_URL" $variable) "secret" .) }}
{{- $entries = append $entries (printf "%s.read_url=$(%s_READ_URL)" $name $variable) }}
{{- end }}
{{- with get $database "passwordFile" }}
{{- $entries = append $entries (printf "%s.password_file=%s" $name .) }}
{{- end }}
{{- end }}
- {name: OUTBOXD_DATABASES, value: {{ join " " $entries | quote }}}
{{- end }}

{{/* The name of the container that migrates the database of a name. */}}
{{- define "outboxd.migrateContainer" -}}
{{ replace "_" "-" . }}-migrate
{{- end }}
