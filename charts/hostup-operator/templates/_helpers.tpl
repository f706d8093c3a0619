{{- define "hostup-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "hostup-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "hostup-operator.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hostup-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "hostup-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Maps as one: of two that have the same key the later counts. */ -}}
{{- define "hostup-operator.merged" -}}
{{- $all := dict -}}
{{- range . -}}{{- range $key, $value := . -}}{{- $_ := set $all $key $value -}}{{- end -}}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- define "hostup-operator.selector" -}}
app.kubernetes.io/name: {{ include "hostup-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- /* The labels of an object: (list . [further labels ...]). Nothing changes those that a selector looks for. */ -}}
{{- define "hostup-operator.labels" -}}
{{- $ := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/part-of" "hostup-operator"
  "app.kubernetes.io/version" $.Chart.AppVersion
  "app.kubernetes.io/managed-by" $.Release.Service
  "helm.sh/chart" (printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_") -}}
{{- $selector := include "hostup-operator.selector" $ | fromYaml -}}
{{- include "hostup-operator.merged" (concat (list $own $.Values.commonLabels) (rest .) (list $selector)) -}}
{{- end -}}

{{- /* Name, labels and annotations of an object: (list . name [annotations [further labels]]) */ -}}
{{- define "hostup-operator.metadata" -}}
{{- $ := index . 0 -}}
{{- $annotations := dict -}}
{{- if gt (len .) 2 -}}{{- $annotations = index . 2 -}}{{- end -}}
{{- $labels := dict -}}
{{- if gt (len .) 3 -}}{{- $labels = index . 3 -}}{{- end -}}
name: {{ index . 1 | quote }}
labels:
  {{- include "hostup-operator.labels" (list $ $labels) | nindent 2 }}
{{- $annotations = include "hostup-operator.merged" (list $.Values.commonAnnotations $annotations) | fromYaml }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "hostup-operator.image" -}}
{{- $registry := .Values.image.registry -}}
{{- with .Values.global -}}{{- $registry = default $registry .imageRegistry -}}{{- end -}}
{{- $image := printf "%s/%s" $registry .Values.image.repository | trimPrefix "/" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The rights in the namespaces that are watched */ -}}
{{- define "hostup-operator.rulesOfNamespaces" }}
# The objects of users. The operator writes only the status, never the spec.
- apiGroups: [vps.hostup.se]
  resources: [vpsbackuprestores, vpsresourceconfigs]
  verbs: [get, list, watch]
- apiGroups: [vps.hostup.se]
  resources: [vpsbackuprestores/status, vpsresourceconfigs/status]
  verbs: [update]
# API keys. The operator reads them by name when it uses them, and never lists or watches Secrets.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ .Values.hostup.credentialSecretNames | toJson }}
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.rbac.writeOutputs }}
# The ConfigMaps of spec.writeOutputsTo. RBAC cannot restrict create to the names that objects choose.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, update]
{{- end }}
{{- end }}
