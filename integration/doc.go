// Package integration tests the project's programs against real parts: distribution's registry with
// a token server, others' registries and clients, containerd with ctr and runc, docker-credential-pass
// with pass and gpg. Each test starts and stops what it needs, on ports and in directories of its own.
// `make integration` builds and installs these parts first.
//
// The harness has a file per part: process_test.go (what all have in common), tokenserver_test.go,
// registry_test.go with registry_kinds_test.go and requestlog_test.go, containerd_test.go with
// hosts_test.go, versions_test.go and cri_test.go with pause_test.go, pass_test.go, images_test.go with
// bundle_test.go, nestctl_test.go. harness_test.go tests the harness without any program of ours.
//
// examples_test.go runs what the directory examples has for users, and signatures_test.go what docs/guides/signatures.md
// says.
//
// `make bench` runs BenchmarkPulls in bench_test.go; its parts are bench_scenarios_test.go (what is measured),
// bench_content_test.go (what is pulled), bench_tools_test.go and bench_daemons_test.go (by whom), bench_scene_test.go
// (where) and bench_measure_test.go (how), and package bench has what needs no test.
//
// kubelet_test.go, with machine_test.go, and cluster_test.go, with cluster_serve_test.go, cluster_parts_test.go,
// private_test.go and docs_test.go, need the Kubernetes that `make test-kubelet` builds in the module of the directory
// kubelet, and the plugins of the pods' network that it installs. They are built with the tag kubelet only.
// docker_test.go, with private_test.go, too, needs the Docker Engine that `make test-docker` builds in the module of the
// directory moby, and has the tag docker.
package integration
