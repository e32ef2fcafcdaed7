{{- /* The Secret with the nodes' credentials, or nothing. */}}
{{- define "model-csi-driver.registryAuthsSecret" -}}
{{- if .Values.config.registryAuthsSecret }}
{{- .Values.config.registryAuthsSecret }}
{{- else if .Values.config.registryAuths }}
{{- include "model-csi-driver.fullname" . }}-registry-auths
{{- end }}
{{- end }}

{{- /*
The driver's settings, by the names that they have in its configuration file: what is under `config`, over the chart's
other values and the names that the Go driver's chart gave some of them.
*/}}
{{- define "model-csi-driver.settings" -}}
{{- $config := .Values.config }}
{{- $settings := dict }}
{{- $pull := deepCopy (default dict $config.pullConfig) }}
{{- if .Values.registryHosts }}
{{- $_ := set $pull "hosts_dir" (get $pull "hosts_dir" | default "/etc/registry-hosts") }}
{{- end }}
{{- if $pull }}
{{- $_ := set $settings "pull_config" $pull }}
{{- end }}
{{- if .Values.metrics.enabled }}
{{- $_ := set $settings "metrics_addr" (printf "tcp://$POD_IP:%v" .Values.metrics.port) }}
{{- end }}
{{- $own := omit $config "serviceName" "rootDir" "registryAuths" "registryAuthsSecret" "pullConfig" }}
{{- $settings = mergeOverwrite $settings (deepCopy $own) }}
{{- /* What the DaemonSet is built on. */}}
{{- $_ := set $settings "service_name" $config.serviceName }}
{{- $_ := set $settings "root_dir" (trimSuffix "/" $config.rootDir) }}
{{- $_ := set $settings "csi_endpoint" "unix:///csi/csi.sock" }}
{{- toYaml $settings }}
{{- end }}

{{- /* Where the driver serves its metrics, which config.metrics_addr may say in place of metrics.port; or nothing. */}}
{{- define "model-csi-driver.metricsPort" -}}
{{- get (include "model-csi-driver.settings" . | fromYaml) "metrics_addr" | splitList ":" | last }}
{{- end }}

{{- /*
The settings that a running driver does not follow: a change of these needs new pods. Which ones it follows, the code
says (live-settings.yaml).
*/}}
{{- define "model-csi-driver.settingsOfStart" -}}
{{- $settings := include "model-csi-driver.settings" . | fromYaml }}
{{- range .Files.Get "live-settings.yaml" | fromYamlArray }}
{{- $path := splitList "." . }}
{{- $section := $settings }}
{{- range initial $path }}
{{- $section = default dict (get $section .) }}
{{- end }}
{{- $_ := unset $section (last $path) }}
{{- end }}
{{- /* A section with nothing else in it says no more than one that is not there. */}}
{{- range $name, $value := deepCopy $settings }}
{{- if and (kindIs "map" $value) (empty $value) }}
{{- $_ := unset $settings $name }}
{{- end }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- /* The key in the Secret for the name of a file, which may have characters that keys may not. */}}
{{- define "model-csi-driver.keyOf" -}}
{{- printf "%s-%s" (sha256sum . | trunc 12) (regexReplaceAll "[^A-Za-z0-9._-]" . "-" | trunc 200) }}
{{- end }}
