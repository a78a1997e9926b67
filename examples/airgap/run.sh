#!/bin/sh
# Carries two bundles to a registry behind an air gap, and an update of one of them.
set -eu
. "$(dirname "$0")/../lib.sh"
org=$REGISTRY/examples/airgap # this side
far=${FAR:-$REGISTRY/prod} # the other side, a repository

# The first delivery is all of both, in parts that fit on what carries them.
image "$org/shop/web:v1" "$org/shop/worker:v1" "$org/bank/ledger:v1"
step nestctl index create "$org/shop:v1" "$org/shop/web:v1" "$org/shop/worker:v1"
step nestctl index create "$org/bank:v1" "$org/bank/ledger:v1"
step nestctl copy --split 12KiB "$org/shop:v1" "$org/bank:v1" oci-archive:v1.tar
step nestctl copy --all oci-archive:v1.tar "$far"

# The second leaves out what the first had.
image "$org/shop/web:v2"
step nestctl index create "$org/shop:v2" "$org/shop/web:v2" "$org/shop/worker:v1"
step nestctl copy --since v1.tar "$org/shop:v2" oci-archive:v2.tar
step nestctl copy --all oci-archive:v2.tar "$far"

step nestctl check "$far/examples/airgap/shop:v2"
wc -c v1.tar.0* v2.tar
