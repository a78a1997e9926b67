{{/* The image, by digest when there is one. */}}
{{- define "nested.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* What keeps a container in its place. */}}
{{- define "nested.confined" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "nested.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  app.kubernetes.io/name: {{ .app | default .name }}
{{- end -}}

{{- define "nested.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "nested.gateway.config" -}}
{{ .Values.gateway.config | default (.Files.Get "files/gateway.toml") }}
{{- end -}}

{{- define "nested.serve.config" -}}
{{ .Values.serve.config | default (.Files.Get "files/serve.toml") }}
{{- end -}}

{{/*
The name of a ConfigMap with a file config.toml, which is that of kustomize's configMapGenerator: another text has
another name, and so replaces the pods. kustomize hashes an empty name.
*/}}
{{- define "nested.configName" -}}
{{- $hash := dict "kind" "ConfigMap" "name" "" "data" (dict "config.toml" .text) | toJson | sha256sum | trunc 10 -}}
{{ .name }}-{{ $hash | replace "0" "g" | replace "1" "h" | replace "3" "k" | replace "a" "m" | replace "e" "t" }}
{{- end -}}

{{- define "nested.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "nested.configName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    app.kubernetes.io/name: {{ .app }}
  annotations:
    # For pods of the former revision that start again, on another node or after helm rollback.
    helm.sh/resource-policy: keep
data:
  config.toml: {{ .text | toJson }}
{{- end -}}
