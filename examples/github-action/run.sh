#!/bin/sh
# Does what a runner of GitHub's does with the step of action.yml.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/github-action

image "$app/web:v1" "$app/worker:v1"
block "$here/action.yml" run >step.sh
: >output
BUNDLE=$app:v1 SOURCES="$app/web:v1
$app/worker:v1
" VERSION=latest RUNNER_TEMP=$out GITHUB_OUTPUT=$out/output step bash --noprofile --norc -eo pipefail step.sh
cat output
