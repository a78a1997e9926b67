#!/bin/sh
# Brings the images of a chart together in one bundle, and pins the chart to it: its rendered manifests, and its values.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/helm

image "$REGISTRY/shopware/web:2.1" "$REGISTRY/library/nginx:1.27-alpine"
others quay.io docker.io

# Recorded where there is no helm.
if command -v helm >/dev/null; then
	step helm template shop "$here/chart" >rendered.yaml
else
	cp "$here/rendered.yaml" rendered.yaml
fi
step nestctl index create --hosts-dir hosts "$app:v1" --copy --from - <rendered.yaml
step nestctl resolve -f rendered.yaml "$app:v1" >pinned.yaml
cat pinned.yaml
step nestctl resolve --format helm -f "$here/chart/values.yaml" "$app:v1" >values.yaml
cat values.yaml
