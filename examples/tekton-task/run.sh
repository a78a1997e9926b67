#!/bin/sh
# Does what Tekton does with the step of task.yaml.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/tekton-task

image "$app/web:v1" "$app/worker:v1"
block "$here/task.yaml" script >step.sh
sed "s|\$(results\.\([A-Z_]*\)\.path)|$out/\1|g" step.sh >substituted.sh
BUNDLE=$app:v1 step sh substituted.sh "$app/web:v1" "$app/worker:v1"
echo "IMAGE_URL=$(cat IMAGE_URL) IMAGE_DIGEST=$(cat IMAGE_DIGEST)"
