{{- /* Whether something is on that needs the Kubernetes API; empty if not. */}}
{{- define "model-csi-driver.usesKubernetes" -}}
{{- include "model-csi-driver.clusterRules" . }}
{{- if .Values.podCredentials.enabled }}{{ include "model-csi-driver.podCredentialRules" . }}{{ end }}
{{- end }}

{{- /* Whether the driver changes its Node object; empty if not. */}}
{{- define "model-csi-driver.patchesNode" -}}
{{- if or .Values.nodeLabels.enabled .Values.startupTaint.enabled }}true{{ end }}
{{- end }}

{{- /* What is needed in the whole cluster, feature by feature. */}}
{{- define "model-csi-driver.clusterRules" -}}
{{- if .Values.events.enabled }}
# To tell a pod's events how far its model is.
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- if include "model-csi-driver.patchesNode" . }}
# To label the node with its models, and to remove the startup taint.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, patch]
{{- end }}
{{- if .Values.startupTaint.enabled }}
# To see that kubelet has registered the driver.
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get]
{{- end }}
{{- end }}

{{- /* What is needed wherever pods use their imagePullSecrets for models. */}}
{{- define "model-csi-driver.podCredentialRules" -}}
- apiGroups: [""]
  resources: [pods, serviceaccounts, secrets]
  verbs: [get]
{{- end }}
