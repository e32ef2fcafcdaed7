{{- define "model-csi-driver.driverContainer" -}}
- name: model-csi-driver
  image: {{ include "model-csi-driver.image" (dict "root" . "image" .Values.image) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    - serve
    - --config=/etc/model-csi-driver/config.yaml
    {{- with .Values.args }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: CSI_NODE_ID
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: POD_IP
      valueFrom:
        fieldRef:
          fieldPath: status.podIP
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: healthz
      containerPort: {{ .Values.livenessProbe.healthPort }}
    {{- with include "model-csi-driver.metricsPort" . }}
    - name: metrics
      containerPort: {{ . }}
    {{- end }}
  # The socket opens when the volumes of an earlier run have been looked after.
  startupProbe:
    httpGet:
      path: /healthz
      port: healthz
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 150
  livenessProbe:
    httpGet:
      path: /healthz
      port: healthz
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 5
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    # Kubernetes allows Bidirectional mount propagation to privileged containers only, and container runtimes give those
    # every capability. The driver gives up all but these, which it needs to mount, and to remove what others own.
    privileged: true
    capabilities:
      drop: [ALL]
      add: [SYS_ADMIN, DAC_OVERRIDE, FOWNER]
    readOnlyRootFilesystem: true
  volumeMounts:
    - name: plugin-dir
      mountPath: /csi
    - name: pods-dir
      mountPath: {{ trimSuffix "/" .Values.kubeletDir }}/pods
      mountPropagation: Bidirectional
    - name: root-dir
      mountPath: {{ trimSuffix "/" .Values.config.rootDir }}
    - name: config
      mountPath: /etc/model-csi-driver
      readOnly: true
    {{- if include "model-csi-driver.registryAuthsSecret" . }}
    - name: registry-auths
      mountPath: {{ dig "pull_config" "docker_config_dir" "/root/.docker" (include "model-csi-driver.settings" . | fromYaml) }}
      readOnly: true
    {{- end }}
    {{- if .Values.registryHosts }}
    - name: registry-hosts
      mountPath: /etc/registry-hosts
      readOnly: true
    {{- end }}
    {{- range $number, $path := .Values.hostPaths }}
    - name: host-path-{{ $number }}
      mountPath: {{ $path }}
      readOnly: true
    {{- end }}
    {{- with .Values.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "model-csi-driver.registrarContainer" -}}
- name: node-driver-registrar
  image: {{ include "model-csi-driver.image" (dict "root" . "image" .Values.registrar.image) | quote }}
  imagePullPolicy: {{ .Values.registrar.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --kubelet-registration-path={{ trimSuffix "/" .Values.kubeletDir }}/plugins/{{ .Values.config.serviceName }}/csi.sock
    - --http-endpoint=:{{ .Values.registrar.healthPort }}
    {{- with .Values.registrar.args }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: registrar
      containerPort: {{ .Values.registrar.healthPort }}
  # Fails when the registration socket has gone, as when kubelet's directory was cleaned; the restart makes it again.
  livenessProbe:
    httpGet:
      path: /healthz
      port: registrar
    initialDelaySeconds: 10
    timeoutSeconds: 5
  {{- with .Values.registrar.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "model-csi-driver.sidecarSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: plugin-dir
      mountPath: /csi
    - name: registration-dir
      mountPath: /registration
{{- end }}

{{- define "model-csi-driver.livenessProbeContainer" -}}
- name: liveness-probe
  image: {{ include "model-csi-driver.image" (dict "root" . "image" .Values.livenessProbe.image) | quote }}
  imagePullPolicy: {{ .Values.livenessProbe.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --health-port={{ .Values.livenessProbe.healthPort }}
    - --probe-timeout=3s
    {{- with .Values.livenessProbe.args }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.livenessProbe.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "model-csi-driver.sidecarSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: plugin-dir
      mountPath: /csi
{{- end }}
