{{- /* The release's name, with the chart's unless it is in there: perennial, or ml-perennial. */ -}}
{{- define "perennial.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "perennial.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "perennial.name" .) }}
{{- else }}{{ required "serviceAccount.name must be set with serviceAccount.create=false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* Call with (list $ "component"). Perennial's own label `managed-by: perennial` is for the operator's children alone. */ -}}
{{- define "perennial.selector" -}}
app.kubernetes.io/name: perennial
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "perennial.labels" -}}
{{ include "perennial.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{- /* Call with (list $ "operator"). */ -}}
{{- define "perennial.image" -}}
{{- $name := index . 1 -}}
{{- required (printf "images.%s must be set: `make images` builds the images and writes build/images.yaml for helm's -f" $name) (index (index . 0).Values.images $name) }}
{{- end }}

{{- /* All names that pods call MLflow by. */ -}}
{{- define "perennial.mlflowHost" -}}
{{ include "perennial.name" . }}-mlflow.{{ .Release.Namespace }}.svc.{{ .Values.settings.clusterDomain }}:5000
{{- end }}

{{- define "perennial.mlflowUrl" -}}
{{- if .Values.mlflow.enabled }}http://{{ include "perennial.mlflowHost" . }}
{{- else }}{{ required "mlflow.trackingUri must be set with mlflow.enabled=false: the URL of your own MLflow" .Values.mlflow.trackingUri }}{{ end }}
{{- end }}

{{- define "perennial.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "perennial.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}
