#!/bin/sh
# Brings all images of a Compose file together in one bundle, and pins the file to it.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/compose

image "$app/web:v1" "$REGISTRY/valkey/valkey:8.1" "$REGISTRY/sclorg/postgresql-16-c9s:latest"
others docker.io quay.io
local_file compose.yaml compose.yaml

step nestctl index create --hosts-dir hosts "$app:v1" --copy --from compose.yaml
step nestctl resolve -f compose.yaml "$app:v1" >pinned.yaml
cat pinned.yaml
