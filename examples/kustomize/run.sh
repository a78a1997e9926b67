#!/bin/sh
# Publishes an application of two images as a bundle, and pins a kustomization to it.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/kustomize

image "$app/web:v1" "$app/worker:v1"
step nestctl index create "$app:v1" "$app/web:v1" "$app/worker:v1"

for file in kustomization.yaml deployment.yaml; do
	local_file "$file" "$file"
done
step nestctl resolve --format kustomize "$app:v1" >>kustomization.yaml
cat kustomization.yaml
if command -v kustomize >/dev/null; then
	step kustomize build .
fi
