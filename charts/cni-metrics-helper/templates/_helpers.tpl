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
The domains of AWS's own registries, in all partitions. Another domain is a registry of one's own, whatever the account.
*/}}
{{- define "cni-metrics-helper.awsDomains" -}}
amazonaws.com amazonaws.com.cn amazonaws.eu on.aws c2s.ic.gov sc2s.sgov.gov csp.hci.ic.gov cloud.adc-e.uk
{{- end }}

{{/*
The image. AWS's accounts hold the original and never this program: an image there is refused, because it either does not
exist or is the original, which these rights do not fit. The original's releases are all v1.*: these are refused, too, by
the names that mirrors of AWS's repositories have, whatever their registry. A mirror of one's own under another name may
number its images as it likes. It is refused here and not in NOTES, which Terraform, Argo CD and Flux do not show.
*/}}
{{- define "cni-metrics-helper.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default .Chart.AppVersion $image.tag | toString -}}
{{- $originals := splitList " " (include "cni-metrics-helper.originalAccounts" . | replace "\n" " ") -}}
{{- $remedy := "push this program's image to your own registry and set image.override, for example 111122223333.dkr.ecr.eu-west-1.amazonaws.com/cni-metrics-helper:v0.1.0 (all other values may stay)" | replace "v0.1.0" .Chart.AppVersion -}}
{{- if $image.override -}}
{{- $account := regexFind "^[0-9]{12}" (regexFind "^[0-9]{12}\\.dkr[.-]ecr(-fips)?\\." $image.override) -}}
{{- $isRelease := regexMatch "/cni-metrics-helper:v?1\\." $image.override -}}
{{- if and $isRelease (or (has $account $originals) (regexMatch "(^|/)(amazon|eks)/cni-metrics-helper:" $image.override)) -}}
{{- fail (printf "image.override %s is the upstream Go helper, not this program: %s" $image.override $remedy) -}}
{{- end -}}
{{- if and (has $account $originals) (regexMatch "/cni-metrics-helper([:@]|$)" $image.override) -}}
{{- fail (printf "image.override %s is in AWS's registry %s, which contains the upstream Go helper and never this program: %s" $image.override $account $remedy) -}}
{{- end -}}
{{- $image.override -}}
{{- else -}}
{{- $account := toString $image.account -}}
{{- $reference := printf "%s.dkr.ecr.%s.%s/cni-metrics-helper:%s" $account $image.region $image.domain $tag -}}
{{- if has $account $originals -}}
{{- if regexMatch "^v?1\\." $tag -}}
{{- fail (printf "image.tag %s in AWS's registry %s is the upstream Go helper, not this program: %s" $tag $account $remedy) -}}
{{- end -}}
{{- if has $image.domain (splitList " " (include "cni-metrics-helper.awsDomains" .)) -}}
{{- fail (printf "the image %s does not exist: AWS's registry %s contains only the upstream Go helper: %s, or set image.account and image.region" $reference $account $remedy) -}}
{{- end -}}
{{- end -}}
{{- $reference -}}
{{- end -}}
{{- end }}

{{/* A variable of env as text, "" when absent: call with (list . "NAME"). Large numbers stay digits. */}}
{{- define "cni-metrics-helper.setting" -}}
{{- $value := index (index . 0).Values.env (index . 1) -}}
{{- if kindIs "float64" $value -}}{{- int64 $value -}}
{{- else if not (kindIs "invalid" $value) -}}{{- $value -}}
{{- end -}}
{{- end }}

{{/* "true" where extraEnv has this variable: call with (list . "NAME"). It wins over one of env, so that none is there twice. */}}
{{- define "cni-metrics-helper.isExtra" -}}
{{- $name := index . 1 -}}
{{- range (index . 0).Values.extraEnv -}}{{- if eq .name $name -}}true{{- end -}}{{- end -}}
{{- end }}

{{/* Refuses in extraEnv what the chart has to read, and anywhere what it sets from a value of its own. */}}
{{- define "cni-metrics-helper.checkEnv" -}}
{{- $read := list "USE_PROMETHEUS" "PROMETHEUS_ADDRESS" "ADMIN_ADDRESS" "LEADER_ELECTION" "LEASE_NAME" "LEASE_NAMESPACE" -}}
{{- $read = concat $read (list "SCRAPE_VIA" "AGENT_NAMESPACE" "AGENT_PORT" "SHARD" "SPOOL_DIR" "CLOUDWATCH_BUFFER" "INSIGHT") -}}
{{- range .Values.extraEnv -}}
{{- if has .name $read -}}
{{- fail (printf "extraEnv sets %s, but ports, permissions or volumes of this chart depend on it: set env.%s instead" .name .name) -}}
{{- end -}}
{{- end -}}
{{- if or (hasKey .Values.env "TERMINATION_GRACE_PERIOD") (include "cni-metrics-helper.isExtra" (list . "TERMINATION_GRACE_PERIOD")) -}}
{{- fail "TERMINATION_GRACE_PERIOD is set by terminationGracePeriodSeconds, for the pod and the program: remove it from env and extraEnv" -}}
{{- end -}}
{{- end }}

{{/* A size as a number of bytes: call with text such as 64MiB or 64MB (of the program), 64Mi, 64M or 67108864. */}}
{{- define "cni-metrics-helper.bytes" -}}
{{- /* A leading zero would make it octal. */}}
{{- $number := regexReplaceAll "^0+([0-9])" (regexFind "[0-9]+" .) "${1}" | int64 -}}
{{- $factors := dict "" 1 "k" 1000 "K" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- mul $number (get $factors (regexFind "[kKMG]i?" .)) -}}
{{- end }}

{{/* What the counters' baselines take in a spool, bytes: some 250 per node, for 100,000 nodes and a third to spare. */}}
{{- define "cni-metrics-helper.baselineBytes" -}}33554432{{- end }}

{{/*
The emptyDir of the spool: spool.sizeLimit, or room for three files of the greatest size. Two are there whenever one
replaces the other, and one more may have been set aside (damaged, or of another cluster). Refuses less than two: the
kubelet evicts a pod that is over the limit, and deletes the spool with it.
*/}}
{{- define "cni-metrics-helper.spoolSizeLimit" -}}
{{- $buffer := include "cni-metrics-helper.setting" (list . "CLOUDWATCH_BUFFER") | trim | default "64MiB" -}}
{{- $baselines := include "cni-metrics-helper.baselineBytes" . | int64 -}}
{{- $file := add (include "cni-metrics-helper.bytes" $buffer | int64) $baselines -}}
{{- $mebibytes := mul $file 2 | add 1048575 -}}
{{- $least := printf "%dMi" (div $mebibytes 1048576) -}}
{{- if .Values.spool.sizeLimit -}}
{{- $limit := include "cni-metrics-helper.bytes" .Values.spool.sizeLimit | int64 -}}
{{- if lt $limit (mul $file 2) -}}
{{- fail (printf "spool.sizeLimit %s is too small: a spool file holds up to CLOUDWATCH_BUFFER (%s) and 32Mi of counters' baselines, and the old file stays until the new one is written, so 2 x (%s + 32Mi) = %s are needed. Above the limit the kubelet evicts the pod and deletes the spool: set spool.sizeLimit to %s or more, leave it empty to have it computed, or decrease env.CLOUDWATCH_BUFFER" .Values.spool.sizeLimit $buffer $buffer $least $least) -}}
{{- end -}}
{{- .Values.spool.sizeLimit -}}
{{- else -}}
{{- printf "%dMi" (div (add (mul $file 3) 1048575) 1048576) -}}
{{- end -}}
{{- end }}

{{/* "true" where a switch is on, else "". */}}
{{- define "cni-metrics-helper.isOn" -}}
{{- if has (include "cni-metrics-helper.setting" . | lower) (list "true" "yes" "on" "1") -}}true{{- end -}}
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
{{- fail (printf "shards is %d, and the chart then sets %s itself: remove it from env and extraEnv" $shards .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.spool.enabled .Values.spool.existingClaim -}}
{{- fail "spool.existingClaim is for one pod, and each shard is a pod: set shards to 1, or remove the claim" -}}
{{- end -}}
{{- if eq (.Values.updateStrategy.type | default "") "Recreate" -}}
{{- fail "updateStrategy.type Recreate is for Deployments; shards are a StatefulSet, which stops each old pod before it starts the new one: remove it" -}}
{{- end -}}
true
{{- end -}}
{{- end }}

{{- define "cni-metrics-helper.scrapesByProxy" -}}
{{- if ne (include "cni-metrics-helper.setting" (list . "SCRAPE_VIA") | lower) "direct" -}}true{{- end -}}
{{- end }}

{{/* "true" where the rights are created that INSIGHT=cluster needs. */}}
{{- define "cni-metrics-helper.insightReadsObjects" -}}
{{- $level := include "cni-metrics-helper.setting" (list . "INSIGHT") | lower -}}
{{- if and .Values.insight.rights (eq $level "cluster") -}}true{{- end -}}
{{- end }}

{{/* "true" with leader election: asked for, or more than one replica. Refuses replicas that would all publish. */}}
{{- define "cni-metrics-helper.elects" -}}
{{- $asked := include "cni-metrics-helper.setting" (list . "LEADER_ELECTION") | lower -}}
{{- if has $asked (list "true" "yes" "on" "1") -}}true
{{- else if gt (int .Values.replicas) 1 -}}
{{- if $asked -}}
{{- fail (printf "replicas is %d but env.LEADER_ELECTION is %s: every replica would publish the same events; remove one of the two" (int .Values.replicas) $asked) -}}
{{- end -}}
true
{{- end -}}
{{- end }}
