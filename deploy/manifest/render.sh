#!/usr/bin/env bash
# Writes the manifest's template from the chart, and the manifests of this folder from the template.
# HELM is the helm to use, HELPER the built cni-metrics-helper; without HELPER only the template is written.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

"${HELM:-helm}" template cni-metrics-helper charts/cni-metrics-helper \
  --namespace xx-namespace-xx \
  --set image.override=xx-image-xx \
  --set env.AWS_CLUSTER_ID=xx-cluster-id-xx \
  --set env.AWS_REGION=xx-region-0 \
  --set env.INSIGHT=cluster \
  --set 'serviceAccount.annotations.eks\.amazonaws\.com/role-arn=xx-role-arn-xx' \
  >crates/cni-generate/src/manifest.yaml

[[ -n ${HELPER:-} ]] || exit 0
"$HELPER" generate manifest >deploy/manifest/cni-metrics-helper.yaml
for region in cn-north-1 cn-northwest-1 us-gov-east-1 us-gov-west-1; do
  "$HELPER" generate manifest --region "$region" >"deploy/manifest/cni-metrics-helper-$region.yaml"
done
