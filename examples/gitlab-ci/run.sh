#!/bin/sh
# Does what a runner of GitLab's does with the script of the job.
set -eu
. "$(dirname "$0")/../lib.sh"
image=$REGISTRY/examples/gitlab-ci

image "$image/web:v1" "$image/worker:v1"
block "$here/nested.gitlab-ci.yml" - >step.sh
CI_REGISTRY=$REGISTRY CI_REGISTRY_USER=gitlab-ci-token CI_REGISTRY_PASSWORD=anything CI_REGISTRY_IMAGE=$image CI_COMMIT_REF_SLUG=v1 \
	BUNDLE=$image:v1 MEMBERS="web worker" step sh step.sh
cat nested.env
