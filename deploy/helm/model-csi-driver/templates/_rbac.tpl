{{- /*
What the driver's settings need of the Kubernetes API. Nothing here is switched on by itself: the settings decide, and
without any of them the driver has neither a role nor a token.
*/}}

{{- /* Whether the driver changes its Node object; empty if not. */}}
{{- define "model-csi-driver.patchesNode" -}}
{{- $kubernetes := dig "kubernetes" dict (include "model-csi-driver.settings" . | fromYaml) }}
{{- if or $kubernetes.node_labels $kubernetes.startup_taint }}true{{ end }}
{{- end }}

{{- /* Whether the driver uses the imagePullSecrets of pods; empty if not. */}}
{{- define "model-csi-driver.readsSecrets" -}}
{{- $credentials := dig "credentials" dict (include "model-csi-driver.settings" . | fromYaml) }}
{{- if $credentials.pod_image_pull_secrets }}true{{ end }}
{{- end }}

{{- /* What is needed in the whole cluster. */}}
{{- define "model-csi-driver.clusterRules" -}}
{{- $settings := include "model-csi-driver.settings" . | fromYaml }}
{{- $kubernetes := dig "kubernetes" dict $settings }}
{{- if $kubernetes.events }}
# To tell a pod's events how far its model is.
- apiGroups: [""]
  resources: [events]
  verbs: [create, get, patch]
{{- end }}
{{- if include "model-csi-driver.patchesNode" . }}
# To label the node with its models, and to take the startup taint off.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, patch]
{{- end }}
{{- if $kubernetes.startup_taint }}
# To see that kubelet knows the driver.
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get]
{{- end }}
{{- if and (dig "credentials" "image_credential_provider_config" "" $settings) .Values.csiDriver.tokenRequests }}
# To hand the annotations of pods' service accounts to credential providers that want them.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
{{- end }}
{{- if and (include "model-csi-driver.readsSecrets" .) (not .Values.rbac.secretNamespaces) }}
{{ include "model-csi-driver.secretRules" . }}
{{- end }}
{{- end }}

{{- /* What is needed wherever pods use their imagePullSecrets for models. */}}
{{- define "model-csi-driver.secretRules" -}}
# To use the imagePullSecrets of pods and of their service accounts.
- apiGroups: [""]
  resources: [pods, serviceaccounts, secrets]
  verbs: [get]
{{- end }}

{{- /* Whether the driver needs a token; empty if not. */}}
{{- define "model-csi-driver.usesKubernetes" -}}
{{- if or (include "model-csi-driver.readsSecrets" .) (include "model-csi-driver.clusterRules" . | trim) }}true{{ end }}
{{- end }}
