# What the scripts of the examples share. They need nestctl and crane in PATH, and nothing of the Internet.

: "${REGISTRY:?must be host:port of a registry on this machine, such as localhost:5000}"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work/out} # what the script makes
mkdir -p "$out"
cd "$out"

# step runs a command after saying which.
step() {
	printf '$ %s\n' "$*" >&2
	"$@"
}

# quiet runs a command and says nothing when it succeeds.
quiet() {
	"$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

# image pushes a small image for two platforms to each reference, in place of what a build would push.
image() {
	for ref; do
		mkdir -p "$work/rootfs"
		for arch in amd64 arm64; do
			echo "$ref on $arch" >"$work/rootfs/image"
			tar -C "$work/rootfs" -cf "$work/layer.tar" image
			quiet crane append --oci-empty-base --new_layer "$work/layer.tar" --new_tag "$ref-$arch"
			quiet crane mutate --set-platform "linux/$arch" --tag "$ref-$arch" "$ref-$arch"
		done
		quiet crane index append --manifest "$ref-amd64" --manifest "$ref-arm64" --tag "$ref"
		echo "(pushed $ref)" >&2
	done
}

# local_file copies a file of the example, with REGISTRY in place of registry.example.com.
local_file() {
	sed "s|registry\.example\.com|$REGISTRY|g" "$here/$1" >"$2"
}

# others makes hosts, a directory of hosts.toml files that lead from the names of other registries to REGISTRY: the images of
# those names are there, because nothing here has to need the Internet.
others() {
	for host; do
		mkdir -p "hosts/$host"
		echo "server = \"http://$REGISTRY\"" >"hosts/$host/hosts.toml"
	done
}

# block prints the block of text that follows a line with a key and "|" in a YAML file: the script of a step.
block() {
	awk -v key="$2" '
		found && !inside { match($0, /^ */); indent = RLENGTH; inside = 1 }
		inside && /[^ ]/ { match($0, /^ */); if (RLENGTH < indent) exit }
		inside { print substr($0, indent + 1) }
		$0 ~ "^ *(- )?" key ": *[|]$" || ($0 ~ "^ *- *[|]$" && key == "-") { found = 1 }
	' "$1"
}
