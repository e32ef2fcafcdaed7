{{- define "model-csi-driver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "model-csi-driver.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "model-csi-driver.selectorLabels" -}}
app.kubernetes.io/name: {{ include "model-csi-driver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "model-csi-driver.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "model-csi-driver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "model-csi-driver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "model-csi-driver.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The Secret with the nodes' credentials, or nothing. */}}
{{- define "model-csi-driver.registryAuthsSecret" -}}
{{- if .Values.config.registryAuthsSecret }}
{{- .Values.config.registryAuthsSecret }}
{{- else if .Values.config.registryAuths }}
{{- include "model-csi-driver.fullname" . }}-registry-auths
{{- end }}
{{- end }}

{{- /* The driver's configuration file. A registry whose entry says serverscheme: http is spoken to without TLS. */}}
{{- define "model-csi-driver.config" -}}
{{- $pull := deepCopy (default dict .Values.config.pullConfig) }}
{{- $plain := default list (get $pull "plain_http_hosts") }}
{{- range $host, $entry := (default dict .Values.config.registryAuths) }}
{{- if eq (default "https" $entry.serverscheme) "http" }}
{{- $plain = append $plain $host }}
{{- end }}
{{- end }}
{{- if $plain }}
{{- $_ := set $pull "plain_http_hosts" (uniq $plain) }}
{{- end }}
{{- $settings := dict
      "service_name" .Values.config.serviceName
      "root_dir" .Values.config.rootDir
      "csi_endpoint" "unix:///csi/csi.sock" }}
{{- if $pull }}
{{- $_ := set $settings "pull_config" $pull }}
{{- end }}
{{- if .Values.config.features }}
{{- $_ := set $settings "features" .Values.config.features }}
{{- end }}
{{- merge $settings (default dict .Values.config.extra) | toYaml }}
{{- end }}

{{- /* The sidecars speak to the socket, which is root's, and to nothing else. */}}
{{- define "model-csi-driver.sidecarSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
