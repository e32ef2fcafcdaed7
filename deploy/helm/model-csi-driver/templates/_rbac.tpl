{{- /*
What the driver's settings need of the Kubernetes API. Nothing here is switched on by itself: the settings decide, and
without any of them the driver has neither a role nor a token.
*/}}

{{- /* The section kubernetes of the settings. */}}
{{- define "model-csi-driver.kubernetesSettings" -}}
{{- dig "kubernetes" dict (include "model-csi-driver.settings" . | fromYaml) | toYaml }}
{{- end }}

{{- /* Whether the driver changes its Node object; empty if not. */}}
{{- define "model-csi-driver.patchesNode" -}}
{{- $settings := include "model-csi-driver.kubernetesSettings" . | fromYaml }}
{{- if or $settings.node_labels $settings.startup_taint }}true{{ end }}
{{- end }}

{{- /* What is needed in the whole cluster. */}}
{{- define "model-csi-driver.clusterRules" -}}
{{- $settings := include "model-csi-driver.kubernetesSettings" . | fromYaml }}
{{- if $settings.events }}
# To tell a pod's events how far its model is.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- if include "model-csi-driver.patchesNode" . }}
# To label the node with its models, and to take the startup taint off.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, patch]
{{- end }}
{{- if $settings.startup_taint }}
# To see that kubelet knows the driver.
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get]
{{- end }}
{{- if and .Values.podCredentials.enabled (not .Values.podCredentials.namespaces) }}
{{ include "model-csi-driver.podCredentialRules" . }}
{{- end }}
{{- end }}

{{- /* What is needed wherever pods use their imagePullSecrets for models. */}}
{{- define "model-csi-driver.podCredentialRules" -}}
# To use the imagePullSecrets of pods and of their service accounts.
- apiGroups: [""]
  resources: [pods, serviceaccounts, secrets]
  verbs: [get]
{{- end }}

{{- /* Whether the driver needs a token; empty if not. */}}
{{- define "model-csi-driver.usesKubernetes" -}}
{{- if or .Values.podCredentials.enabled (include "model-csi-driver.clusterRules" . | trim) }}true{{ end }}
{{- end }}
