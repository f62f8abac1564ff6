{{/* The name of every object: fullnameOverride, else release and chart name as Helm charts do. */}}
{{- define "cni-metrics-helper.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "cni-metrics-helper.serviceAccountName" -}}
{{- $made := ternary (include "cni-metrics-helper.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end }}

{{/* The one selector label. It is the original's and immutable in a Deployment: never change it. */}}
{{- define "cni-metrics-helper.selectorLabels" -}}
k8s-app: cni-metrics-helper
{{- end }}

{{- define "cni-metrics-helper.labels" -}}
{{ include "cni-metrics-helper.selectorLabels" . }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: metrics
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
AWS's accounts of add-on images, in the order of their regions' age: they hold the original and never this program. The
list is that of "View Amazon container image registries for Amazon EKS add-ons" in the EKS user guide, and the accounts
of AWS's isolated regions, which are not in it.
*/}}
{{- define "cni-metrics-helper.originalAccounts" -}}
602401143452 013241004608 151742754352 918309763551 961992271922 800184023465 558608220178 877085696533 590381155156
296578399912 759879836304 455263428931 900612956339 900889452093 491585149902 066635153087 761377655185 151610086707
121268973566 730335286997 533267051163 333609536671
725322719131 608367168043 187977181151 249663109785 676585237158
{{- end }}

{{/*
The image. The original's releases are all v1.*, which these rights do not fit: they are refused by AWS's account, and by
the names that mirrors of AWS's repositories have, whatever their registry. A mirror of one's own under another name may
number its images as it likes.
*/}}
{{- define "cni-metrics-helper.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default .Chart.AppVersion $image.tag | toString -}}
{{- $originals := splitList " " (include "cni-metrics-helper.originalAccounts" . | replace "\n" " ") -}}
{{- if $image.override -}}
{{- $account := regexFind "^[0-9]{12}" (regexFind "^[0-9]{12}\\.dkr[.-]ecr(-fips)?\\." $image.override) -}}
{{- $named := or (has $account $originals) (regexMatch "(^|/)(amazon|eks)/cni-metrics-helper:" $image.override) -}}
{{- if and $named (regexMatch "/cni-metrics-helper:v?1\\." $image.override) -}}
{{- fail (printf "image.override %s is the original Go helper, not this one: push this program's image to a registry of yours and name it" $image.override) -}}
{{- end -}}
{{- $image.override -}}
{{- else -}}
{{- if and (has (toString $image.account) $originals) (regexMatch "^v?1\\." $tag) -}}
{{- fail (printf "image.tag %s in AWS's registry %s is the original Go helper, not this one: push this program's image to a registry of yours and set image.override (all other values may stay)" $tag (toString $image.account)) -}}
{{- end -}}
{{- printf "%s.dkr.ecr.%s.%s/cni-metrics-helper:%s" (toString $image.account) $image.region $image.domain $tag -}}
{{- end -}}
{{- end }}

{{/* A variable of env as text, "" when absent: call with (list . "NAME"). Large numbers stay digits. */}}
{{- define "cni-metrics-helper.setting" -}}
{{- $value := index (index . 0).Values.env (index . 1) -}}
{{- if kindIs "float64" $value -}}{{- int64 $value -}}
{{- else if not (kindIs "invalid" $value) -}}{{- $value -}}
{{- end -}}
{{- end }}

{{/* "true" where a yes/no variable is on, else "". */}}
{{- define "cni-metrics-helper.isOn" -}}
{{- if has (include "cni-metrics-helper.setting" . | lower) (list "true" "yes") -}}true{{- end -}}
{{- end }}

{{/* The port of an address variable: (list . "NAME" default). */}}
{{- define "cni-metrics-helper.port" -}}
{{- $address := include "cni-metrics-helper.setting" . -}}
{{- regexFind "[0-9]+$" (default (index . 2) $address) -}}
{{- end }}
{{- define "cni-metrics-helper.metricsPort" -}}
{{- include "cni-metrics-helper.port" (list . "PROMETHEUS_ADDRESS" "0.0.0.0:61681") -}}
{{- end }}
{{/* "" where the admin listener is switched off, by "off" or an empty value. */}}
{{- define "cni-metrics-helper.adminPort" -}}
{{- $address := include "cni-metrics-helper.setting" (list . "ADMIN_ADDRESS") | lower -}}
{{- if not (and (hasKey .Values.env "ADMIN_ADDRESS") (has $address (list "" "off"))) -}}
{{- include "cni-metrics-helper.port" (list . "ADMIN_ADDRESS" "0.0.0.0:61682") -}}
{{- end -}}
{{- end }}

{{- define "cni-metrics-helper.agentNamespace" -}}
{{- default "kube-system" (include "cni-metrics-helper.setting" (list . "AGENT_NAMESPACE")) -}}
{{- end }}

{{- define "cni-metrics-helper.leaseNamespace" -}}
{{- default .Release.Namespace (include "cni-metrics-helper.setting" (list . "LEASE_NAMESPACE")) -}}
{{- end }}

{{/* The names of all leases, comma-separated: each shard has its own. */}}
{{- define "cni-metrics-helper.leaseNames" -}}
{{- $name := default "cni-metrics-helper" (include "cni-metrics-helper.setting" (list . "LEASE_NAME")) -}}
{{- $shard := include "cni-metrics-helper.setting" (list . "SHARD") -}}
{{- $of := .Values.shards | int -}}
{{- if include "cni-metrics-helper.sharded" . -}}
{{- $names := list -}}
{{- range until $of -}}
{{- $names = append $names (printf "%s-%d-of-%d" $name . $of) -}}
{{- end -}}
{{- join ", " $names -}}
{{- else if $shard -}}
{{- printf "%s-%s" $name (replace "/" "-of-" $shard) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end }}

{{/* "true" with a StatefulSet of shards. Refuses what cannot go with them. */}}
{{- define "cni-metrics-helper.sharded" -}}
{{- $shards := int .Values.shards -}}
{{- if gt $shards 1 -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- fail (printf "shards is %d and replicas is %d: a shard is one pod, which Kubernetes replaces; set replicas to 1" $shards (int .Values.replicas)) -}}
{{- end -}}
{{- $names := keys .Values.env -}}
{{- range .Values.extraEnv -}}{{- $names = append $names .name -}}{{- end -}}
{{- range list "SHARD" "POD_INDEX" -}}
{{- if has . $names -}}
{{- fail (printf "shards is %d, which sets %s itself: take it out of env and extraEnv" $shards .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.spool.enabled .Values.spool.existingClaim -}}
{{- fail "spool.existingClaim is for one pod, and each shard is one: set shards to 1, or leave the claim out" -}}
{{- end -}}
{{- if eq (.Values.updateStrategy.type | default "") "Recreate" -}}
{{- fail "updateStrategy.type Recreate is for Deployments; shards are a StatefulSet, which stops each old pod before its new one by itself: leave it out" -}}
{{- end -}}
true
{{- end -}}
{{- end }}

{{- define "cni-metrics-helper.scrapesByProxy" -}}
{{- if ne (include "cni-metrics-helper.setting" (list . "SCRAPE_VIA") | lower) "direct" -}}true{{- end -}}
{{- end }}

{{/* "true" with leader election: asked for, or more than one replica. Refuses replicas that would all publish. */}}
{{- define "cni-metrics-helper.elects" -}}
{{- $asked := include "cni-metrics-helper.setting" (list . "LEADER_ELECTION") | lower -}}
{{- if has $asked (list "true" "yes") -}}true
{{- else if gt (int .Values.replicas) 1 -}}
{{- if $asked -}}
{{- fail (printf "replicas is %d but env.LEADER_ELECTION is %s: every replica would publish the same events; remove one of the two" (int .Values.replicas) $asked) -}}
{{- end -}}
true
{{- end -}}
{{- end }}
