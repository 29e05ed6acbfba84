{{- define "gotrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gotrace.fullname" -}}
{{- $name := include "gotrace.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gotrace.selector" -}}
app.kubernetes.io/name: {{ include "gotrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gotrace.labels" -}}
{{ include "gotrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "gotrace.image" -}}
{{- $repository := required "image.repository: where is the image? docs/deploy.md tells how to make it" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "gotrace.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gotrace.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The Secret with the token. There is no default: a token that everybody knows is none. */ -}}
{{- define "gotrace.tokenSecret" -}}
{{- if and .Values.token.existingSecret .Values.token.value -}}
{{- fail "token: give existingSecret or value, not both" -}}
{{- else if .Values.token.existingSecret -}}
{{- .Values.token.existingSecret -}}
{{- else if .Values.token.value -}}
{{- printf "%s-token" (include "gotrace.fullname" .) -}}
{{- else -}}
{{- fail "token: there is none. Make a Secret (kubectl create secret generic gotrace-token --from-literal=token=\"$(openssl rand -hex 32)\") and set token.existingSecret=gotrace-token" -}}
{{- end -}}
{{- end -}}

{{- /* The Secret with the certificate; empty if the agents speak HTTP. */ -}}
{{- define "gotrace.tlsSecret" -}}
{{- $tls := .Values.tls -}}
{{- $ways := without (list $tls.existingSecret $tls.certManager.issuer (ternary "insecure" "" $tls.insecure)) "" -}}
{{- if gt (len $ways) 1 -}}
{{- fail "tls: give one of existingSecret, certManager.issuer and insecure" -}}
{{- else if eq (len $ways) 0 -}}
{{- fail "tls: there is no certificate. Set tls.existingSecret to a Secret of type kubernetes.io/tls, or tls.certManager.issuer, or tls.insecure=true if something else keeps others away" -}}
{{- else if $tls.existingSecret -}}
{{- $tls.existingSecret -}}
{{- else if $tls.certManager.issuer -}}
{{- printf "%s-tls" (include "gotrace.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- /* What of an endpoint both kinds of monitors share. */ -}}
{{- define "gotrace.endpoint" -}}
{{- $tls := include "gotrace.tlsSecret" . -}}
port: http
path: /metrics
interval: {{ .Values.monitor.interval }}
scrapeTimeout: {{ .Values.monitor.scrapeTimeout }}
# The agents' metrics are of other pods than the agent's own.
honorLabels: true
authorization:
  type: Bearer
  credentials:
    name: {{ include "gotrace.tokenSecret" . }}
    key: token
{{- if $tls }}
scheme: https
tlsConfig:
  {{- if .Values.monitor.tls.insecureSkipVerify }}
  insecureSkipVerify: true
  {{- else }}
  serverName: {{ include "gotrace.fullname" . }}.{{ .Release.Namespace }}.svc
  ca:
    secret:
      name: {{ default $tls .Values.monitor.tls.caSecret }}
      key: {{ .Values.monitor.tls.caKey }}
  {{- end }}
{{- else }}
scheme: http
{{- end }}
{{- end -}}
