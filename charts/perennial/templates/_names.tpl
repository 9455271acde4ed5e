{{- /* The operator's name: the release's, with the chart's unless it is in there: perennial, or ml-perennial. */ -}}
{{- define "perennial.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $chart := include "perennial.chartName" . }}
{{- if contains $chart .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $chart | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- end }}

{{- define "perennial.chartName" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- define "perennial.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "perennial.name" .) }}
{{- else }}{{ required "serviceAccount.name must be set with serviceAccount.create=false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* Call these three with (list $ "component"). Perennial's own label `managed-by: perennial` is for the operator's children. */ -}}
{{- define "perennial.selector" -}}
app.kubernetes.io/name: {{ include "perennial.chartName" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "perennial.labels" -}}
{{ include "perennial.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A pod's labels, without the chart's version: a new one alone restarts nothing. A third item: further labels. */ -}}
{{- define "perennial.podLabels" -}}
{{- $own := include "perennial.selector" . | fromYaml }}
{{- toYaml (merge $own (index . 2) (index . 0).Values.commonLabels) }}
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

{{- /* Call with (list "ServiceMonitor" values $): "true" if an object of that kind is to be rendered. */ -}}
{{- define "perennial.rendered" -}}
{{- $kind := printf "monitoring.coreos.com/v1/%s" (index . 0) }}
{{- $mode := (index . 1).renderMode }}
{{- if or (eq $mode "Always") (and (eq $mode "Auto") ((index . 2).Capabilities.APIVersions.Has $kind)) }}true{{ end }}
{{- end }}

{{- /* Call with (list $ "monitoring" values): where such an object is made, its labels and annotations. */ -}}
{{- define "perennial.placed" -}}
{{- $values := index . 2 -}}
namespace: {{ $values.namespace | default (index . 0).Release.Namespace }}
labels: {{- merge (include "perennial.labels" . | fromYaml) $values.labels | toYaml | nindent 2 }}
{{- with $values.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The settings that the chart makes from its other values, and what decides them. */ -}}
{{- define "perennial.ownSettings" -}}
PERENNIAL_NAMESPACE: the release's namespace
PERENNIAL_SERVICE_ACCOUNT: serviceAccount.name
PERENNIAL_NAMESPACES: watchNamespaces
PERENNIAL_IMAGE_OPERATOR: images.operator
PERENNIAL_IMAGE_SERVER: images.server
PERENNIAL_IMAGE_ROUTER: images.router
PERENNIAL_IMAGE_PULL_POLICY: imagePullPolicy
PERENNIAL_MLFLOW_URL: mlflow
PERENNIAL_CLUSTER_DOMAIN: settings.clusterDomain
PERENNIAL_LOG_LEVEL: settings.logLevel
PERENNIAL_LOG_FORMAT: settings.logFormat
PERENNIAL_HEALTH_PORT: the chart
PERENNIAL_METRICS_PORT: the chart
PERENNIAL_BIND: the chart
{{- end }}
