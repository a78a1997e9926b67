#!/bin/sh
# Publishes what `docker buildx bake` has built as a bundle.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/bake

# Recorded: docker buildx bake --push --metadata-file metadata.json. The images are others, so their digests are put in.
image "$app/web:v1" "$app/worker:v1"
local_file metadata.json recorded.json
sed "s|sha256:3b1c[0-9a-f]*|$(crane digest "$app/web:v1")|; s|sha256:c4d5[0-9a-f]*|$(crane digest "$app/worker:v1")|" recorded.json >metadata.json

step nestctl index create "$app:v1" --from metadata.json
