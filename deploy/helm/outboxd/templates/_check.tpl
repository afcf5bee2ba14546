{{/* Ends the rendering if values exclude each other, or need another value. */}}
{{- define "outboxd.check" -}}
{{- $names := keys (.Values.databases | default dict) | sortAlpha }}
{{- $choices := join " or " $names }}
{{- include "outboxd.checkDatabases" . }}
{{- if or (hasKey .Values.config "databases") (hasKey .Values.config "source") }}
{{- fail "config is in a ConfigMap and cannot have databases or source: set the values databases, worker.source and api.source" }}
{{- end }}
{{- range $role := list "worker" "api" }}
{{- $r := index $.Values $role }}
{{- if and $r.source (not (has $r.source $names)) }}
{{- fail (printf "%s.source is %q, which is not one of databases" $role $r.source) }}
{{- end }}
{{- if and $names $r.enabled (not $r.source) }}
{{- fail (printf "the role %s uses one database: set %s.source to %s, or %s.enabled to false" $role $role $choices $role) }}
{{- end }}
{{- end }}
{{- $volumes := list }}
{{- range .Values.volumes }}
{{- if has .name (list "config" "data") }}
{{- fail (printf "the chart has a volume %s of its own: give the one of volumes another name" .name) }}
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range .Values.volumeMounts }}
{{- if not (has .name $volumes) }}
{{- fail (printf "volumeMounts names %q, which is not one of volumes" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outboxd.checkDatabases" -}}
{{- $containers := list }}
{{- range $name, $database := .Values.databases }}
{{- if not (regexMatch "^[a-z0-9][a-z0-9_-]{0,39}$" $name) }}
{{- fail (printf "%q is no name of a database: use up to 40 lower-case letters, digits, _ and -" $name) }}
{{- end }}
{{- $container := include "outboxd.migrateContainer" $name }}
{{- if has $container $containers }}
{{- fail (printf "two of databases differ only in _ and -, which the names of containers cannot tell apart: rename %s" $name) }}
{{- end }}
{{- $containers = append $containers $container }}
{{- if not (kindIs "map" $database) }}
{{- fail (printf "databases.%s is not a map: give url, with the name and the key of a secret" $name) }}
{{- end }}
{{- range keys (omit $database "url" "listenURL" "readURL" "migrationURL" "passwordFile") }}
{{- fail (printf "databases.%s.%s is unknown: a database has url, listenURL, readURL, migrationURL and passwordFile" $name .) }}
{{- end }}
{{- range $key, $secret := merge (omit $database "passwordFile") (dict "url" dict) }}
{{- if not (and (kindIs "map" $secret) (dig "name" "" $secret) (dig "key" "" $secret)) }}
{{- fail (printf "databases.%s.%s needs the name and the key of a secret" $name $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.databases }}
{{- if .Values.secrets.migrationURL.name }}
{{- fail "each of databases has a migrationURL of its own: unset secrets.migrationURL" }}
{{- end }}
{{- range $key := list "url" "password_file" "read_url" }}
{{- if dig "database" $key "" $.Values.config }}
{{- fail (printf "config.database.%s is for one database: unset it, or unset databases" $key) }}
{{- end }}
{{- end }}
{{- if dig "relay" "listen_url" "" .Values.config }}
{{- fail "config.relay.listen_url is for one database: unset it, or unset databases" }}
{{- end }}
{{- range .Values.env }}
{{- if has .name (list "DATABASE_URL" "OUTBOXD_DATABASE_URL" "OUTBOXD_DATABASE_PASSWORD_FILE" "OUTBOXD_DATABASE_READ_URL" "OUTBOXD_RELAY_LISTEN_URL") }}
{{- fail (printf "%s in env is for one database: unset it, or unset databases" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
