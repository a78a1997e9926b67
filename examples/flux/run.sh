#!/bin/sh
# Releases an application for Flux: images, and manifests that are pinned to them, under one tag.
set -eu
. "$(dirname "$0")/../lib.sh"
app=$REGISTRY/examples/flux

image "$app/web:v1" "$app/worker:v1"
step nestctl index create "$app:v1" "$app/web:v1" "$app/worker:v1"

mkdir -p manifests
local_file shop.yaml shop.yaml
step nestctl resolve -f shop.yaml "$app:v1" >manifests/shop.yaml

# What `flux push artifact oci://$app/deploy:v1 --path=manifests --source=… --revision=v1` pushes.
tar -C manifests -cf content.tar .
diff_id=sha256:$(sha256sum content.tar | cut -d' ' -f1)
gzip -nf content.tar
cat >config.json <<END
{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{"created":"0001-01-01T00:00:00Z"}],"os":"","rootfs":{"type":"layers","diff_ids":["$diff_id"]},"config":{}}
END
quiet oras push --plain-http --config config.json:application/vnd.cncf.flux.config.v1+json \
	--annotation org.opencontainers.image.source=https://git.example.com/shop --annotation org.opencontainers.image.revision=v1 \
	"$app/deploy:v1" content.tar.gz:application/vnd.cncf.flux.content.v1.tar+gzip

step nestctl index add "$app:v1" "$app/deploy:v1"
step nestctl resolve --format env "$app:v1" >images.env
. ./images.env
sed "s|@URL@|oci://${DEPLOY_IMAGE%@*}|; s|@DIGEST@|${DEPLOY_IMAGE#*@}|" "$here/sync.yaml" >sync.yaml
cat sync.yaml
