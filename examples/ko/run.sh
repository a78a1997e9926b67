#!/bin/sh
# Builds two images with ko, and publishes them as a bundle.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/ko

# What ko builds upon; by default that is cgr.dev/chainguard/static.
image "$REGISTRY/examples/base:v1"
export KO_DEFAULTBASEIMAGE=$REGISTRY/examples/base:v1 KO_DOCKER_REPO=$app

(cd "$here" && step ko build --base-import-paths --image-refs "$out/refs.txt" ./cmd/web ./cmd/worker)
cat refs.txt
step nestctl index create "$app:v1" --from refs.txt
