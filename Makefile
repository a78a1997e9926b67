# `make demo` shows it, `make test` tests it; `make help` lists the rest.

CONTAINERD  := v2.4.2
# Older containerds, oldest first, each in a directory of its own.
MATRIX      := v1.7.35 v2.1.9 v2.2.9 v2.3.7
# The long-term line, into which the plugin is built as well.
LTS         := v2.3.7
REGISTRY    := v3.1.2
PASS_HELPER := v0.9.12
# Other people's clients, and the distribution of before 3.0 and podman as Debian has them, in any revision.
CRANE       := v0.22.1
ORAS        := v1.3.6
REGCTL      := v0.11.7
BUILDKIT    := v0.34.2
NOTATION    := v1.3.2
KO          := v0.19.1
# The distribution spec's conformance program; its module has no tags of its own.
CONFORMANCE := v0.0.0-20260831232431-97274622c111
# The plugins of the network that pods have in the cluster of TestCluster.
CNI         := v1.9.1
DOCKER_REGISTRY := 2.8.2
DOCKER      := 20.10.24
PODMAN      := 4.3.1
DEBIAN      := bookworm
LINT        := v2.15.0
ACTIONLINT  := v1.7.12
VULN        := v1.9.0
KUBELET     := $(shell sed -n 's|^.*k8s.io/kubernetes \(v[^ ]*\).*$$|\1|p' integration/kubelet/go.mod)
HELM        := $(shell sed -n 's|^.*helm.sh/helm/v3 \(v[^ ]*\).*$$|\1|p' integration/helm/go.mod)
CONTAINERS_IMAGE := $(shell sed -n 's|^.*go.podman.io/image/v5 \(v[^ ]*\).*$$|\1|p' integration/containersimage/go.mod)
MOBY        := $(shell sed -n 's|^.*github.com/moby/moby/v2 \(v[^ ]*\).*$$|\1|p' integration/moby/go.mod)
# In executions: with a time, Go now and then reports its own deadline as a failure.
FUZZTIME    ?= 30000x
# Of the target that starts a process for each input, of the one that runs a command for each, and of the one that asks
# servers.
FUZZTIME_LOCATIONS := 500x
FUZZTIME_COMMANDS := 2000x
FUZZTIME_FRONT := 10000x

# Of `make soak`: how long, how many pulls at a time, and whose decisions; without a seed it draws one.
MINUTES ?= 2
PULLS   := 2
SEED    :=

BIN     := $(CURDIR)/bin
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)
INSTALL := GOBIN=$(BIN) go install -ldflags '-s -w'
# The same for programs, tests, tools and linters, so that each package is compiled once; only the race detector wants
# its own, and C.
export CGO_ENABLED := 0
export GOFLAGS     := $(filter-out -trimpath,$(shell go env GOFLAGS)) -trimpath
# Recursive, to be looked up after the set-up.
RACE     = $(shell command -v gcc >/dev/null && echo -race)
# At the end of each program the race detector waits a second for races that may still come; by then nothing of ours
# runs any more (internal/leaktest).
export GORACE := atexit_sleep_ms=0
# Runs `go test`, prints failures and closing lines, remembers what was skipped and what became of each test.
GOTEST  := go run $(CURDIR)/.ci/testlog.go -skipped=$(BIN)/skipped -results=$(BIN)/results --
RACETEST = CGO_ENABLED=$(if $(RACE),1,0) $(GOTEST) $(RACE)

# A stamp's name holds the version it was built from, so a new pin is a new build. `make test` does without those of
# `make test-all`.
TOOLS := bin/.registry-$(REGISTRY) bin/.pass-$(PASS_HELPER) bin/.crane-$(CRANE) bin/.oras-$(ORAS) bin/.regctl-$(REGCTL) bin/.containersimage-$(CONTAINERS_IMAGE)
TOOLS_ALL := bin/.notation-$(NOTATION) bin/.ko-$(KO) bin/.conformance-$(CONFORMANCE) bin/.helmcharts-$(HELM)
ifeq ($(shell uname -s),Linux)
TOOLS += bin/.containerd-$(CONTAINERD) bin/.docker-registry-$(DOCKER_REGISTRY)
TOOLS_ALL += bin/.matrix-$(firstword $(MATRIX)) bin/.docker-$(DOCKER) bin/.podman-$(PODMAN) bin/.buildkit-$(BUILDKIT) bin/.debian-$(DEBIAN)
INSIDE := containerd-nested
endif

# Leaves out plugins that need C libraries or that no test uses.
CONTAINERD_TAGS := no_btrfs,no_devmapper,no_zfs,no_aufs

.PHONY: help demo build containerd-nested cross image image-context docs site clean
.PHONY: test test-all test-matrix test-inside test-kubelet test-docker unit integration fuzz soak stress lint vuln
.PHONY: bench bench-copy bench-gateway bench-serve clients-doc
.PHONY: packages tools tools-all kubelet moby

help:
	@echo 'make demo         build, then publish and pull a nested bundle on this machine'
	@echo 'make test         set up what is needed; unit and integration tests, in a quarter of an hour from nothing'
	@echo 'make test-all     what CI runs: also the race detector, the tests that take long, and each fuzz target briefly'
	@echo 'make test-matrix  the pulls of stock clients with containerd $(MATRIX) and $(CONTAINERD)'
	@echo 'make test-inside  the tests of the plugin inside containerd $(LTS)'
	@echo 'make test-kubelet  pods of Kubernetes $(KUBELET), which takes ten minutes to build, once'
	@echo 'make test-docker  pulls of Docker Engine 29 (moby $(MOBY)), which takes as long to build, once, and of Debian'\''s $(DOCKER)'
	@echo 'make build        bin/nestctl'
	@echo 'make cross        bin/cross/nestctl-OS-ARCH for $(PLATFORMS); vets the unit tests where they differ'
	@echo 'make containerd-nested  bin/containerd-nested, containerd $(CONTAINERD) with the plugin in it; CONTAINERD=$(LTS)'
	@echo 'make image        $(IMAGE), with buildah or docker, whichever is there'
	@echo 'make release-image  dist/nested-image-VERSION.oci.tar, the image of all platforms, VERSION=$(VERSION)'
	@echo 'make release-chart  dist/nested-VERSION.tgz, the Helm chart, and the same for registries, VERSION=v0.1.0'
	@echo 'make release VERSION=v1.2.3  all files of a release in dist/ (docs/release.md); SNAPSHOT=1 of what is not tagged'
	@echo 'make test-release  installs, upgrades, removes and purges the packages of a release that is built twice'
	@echo 'make release-push, release-sign, release-upload  publish dist/ with nestctl, cosign and gh, PUSH_TO=$(PUSH_TO)'
	@echo 'make unit         unit tests only, no set-up'
	@echo 'make integration  tests against a real registry, containerd and pass'
	@echo 'make fuzz         each fuzz target, FUZZTIME=$(FUZZTIME)'
	@echo 'make soak         pulls through all integrations from a registry that fails at random, MINUTES=$(MINUTES) PULLS=$(PULLS) SEED='
	@echo 'make stress       unit tests serially with the race detector, then shuffled on 1, 2 and 16 processors; STRESS_COUNT=$(STRESS_COUNT)'
	@echo 'make docs         the pages and parts of pages that are generated from the code'
	@echo 'make site         the documents as a static site in site/, with its links checked'
	@echo 'make clients-doc  the table of programs in docs/clients.md, with the versions that the tests run'
	@echo 'make bench        pulls beside those of others, in 20 minutes; writes docs/performance.md (BENCH=-quick does not)'
	@echo 'make bench-parts  all below and what an entry, a manifest and the location cache cost, in nine minutes; writes docs/performance.md'
	@echo 'make bench-gateway  what the gateway costs beside a direct pull, as ratios of one run'
	@echo 'make bench-serve  what nestctl exec and nestctl serve cost beside a direct pull and a bare proxy, as ratios of one run'
	@echo 'make bench-copy   copies between registries far away, and an update across an air gap, beside regctl, oras, crane and skopeo'
	@echo 'make lint         formatting, vet, golangci-lint, go.mod files'
	@echo 'make vuln         known vulnerabilities in what the programs call'
	@echo 'make clean        remove bin/, dist/ and site/'

build:
	go build -ldflags '-X main.version=$(VERSION)' -o $(BIN)/nestctl ./cmd/nestctl

# Where nestctl runs. What it needs Linux for says so elsewhere (docs/compatibility.md).
PLATFORMS := linux/amd64 linux/arm64 linux/arm linux/ppc64le linux/s390x linux/riscv64 darwin/amd64 darwin/arm64 windows/amd64
# Of each rule that differs one: Windows, Unix that is not Linux, and 32 bits, where constants overflow.
VETTED    := windows/amd64 darwin/arm64 linux/arm
# The flags of both commands are the same, so that the second finds what the first compiled. The plugin is containerd's,
# and containerd's nodes are Linux.
cross:
	@for platform in $(PLATFORMS); do \
		export GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
		name=nestctl-$$GOOS-$$GOARCH$$(go env GOEXE); echo $$name; \
		go build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/cross/$$name ./cmd/nestctl || exit 1; \
		case ' $(VETTED) ' in *" $$platform "*) go vet $$(go list ./... | grep -vE '/(plugin|containerd-nested)(/|$$)') || exit 1;; esac; \
	done

# containerd that follows child namespaces, in place of containerd (docs/containerd.md): in the version of go.mod, or of a
# file for an older minor version, which pins all that its containerd is built with. In order: version, program.
define NESTED
mod=$$(ls cmd/containerd-nested/$(basename $(1:v%=%)).mod 2>/dev/null || echo go.mod) && \
{ grep -q 'containerd/containerd/v2 $(1)$$' $$mod || { echo "containerd $(1): $$mod has another version; edit it, and run go mod tidy -modfile=$$mod" >&2; exit 1; }; } && \
go build -modfile=$$mod -ldflags '-s -w -X main.version=$(VERSION)' -tags $(CONTAINERD_TAGS) \
	-o $(2) ./cmd/containerd-nested
endef
containerd-nested:
	@$(call NESTED,$(CONTAINERD),$(BIN)/containerd-nested)

# What goes into the image; GOARCH chooses its platform.
IMAGE   ?= nested:$(VERSION)
CA_FILE ?= $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
image-context:
	@mkdir -p $(BIN)/image
	GOOS=linux go build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/image/nestctl ./cmd/nestctl
	@test -n "$(CA_FILE)" || { echo 'no file with CAs on this machine; name one with CA_FILE=' >&2; exit 1; }
	@cp $(CA_FILE) $(BIN)/image/ca-certificates.crt && chmod 644 $(BIN)/image/ca-certificates.crt

image: image-context
	@if command -v buildah >/dev/null; then build='buildah build'; elif command -v docker >/dev/null; then build='docker build'; \
	else echo 'needs buildah or docker' >&2; exit 1; fi; \
	set -x; $$build --platform linux/$$(go env GOARCH) -t $(IMAGE) -f Dockerfile $(BIN)/image

.PHONY: release-image release-chart release-roots
# The image of a release, of all platforms, with the CAs that internal/roots pins: the same to the byte wherever it is
# built. nestctl copy oci-archive:dist/… pushes it.
IMAGE_PLATFORMS ?= linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/s390x linux/riscv64
# The time that all files have, in seconds since 1970.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
DIST ?= dist
PACK  = go run ./internal/pack
# In order: PLATFORM=PROGRAM for each.
PACK_IMAGE = $(PACK) image -version $(VERSION) -created $(SOURCE_DATE_EPOCH) -revision "$$(git rev-parse HEAD)" -ca $(BIN)/image/roots.crt \
	-out $(DIST)/nested-image-$(VERSION).oci.tar $(1)
release-roots:
	@mkdir -p $(BIN)/image
	cd internal/roots && go mod tidy -diff && go run . >$(BIN)/image/roots.crt

release-image: release-roots
	@for platform in $(IMAGE_PLATFORMS); do \
		set -- $$platform $$(echo $$platform | tr / ' '); echo "nestctl for $$1"; \
		GOOS=$$2 GOARCH=$$3 GOARM=$${4#v} \
			go build -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/image/$$1/nestctl ./cmd/nestctl || exit 1; \
	done
	$(call PACK_IMAGE,$(foreach p,$(IMAGE_PLATFORMS),$(p)=$(BIN)/image/$(p)/nestctl))

release-chart:
	$(PACK) chart -version $(VERSION) -created $(SOURCE_DATE_EPOCH) -out $(DIST) deploy/helm/nested

.PHONY: release test-release
# Each release has the Go of go.mod, and the image the programs of the archives. PLATFORMS='linux/amd64 linux/arm64' makes less.
RELEASE_GO := $(shell sed -n 's/^toolchain //p' go.mod)
RELEASE     = go -C internal/release run . -version=$(VERSION) $(if $(SNAPSHOT),-snapshot) -platforms='$(PLATFORMS)' -tags=$(CONTAINERD_TAGS)
release: export GOTOOLCHAIN = $(RELEASE_GO)
release: VERSION := $(if $(SNAPSHOT),$(if $(filter v%,$(VERSION)),,v0.0.0-g))$(VERSION)
release: SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
release:
	$(RELEASE) files
	@$(MAKE) --no-print-directory release-roots
	$(call PACK_IMAGE,$$(for p in $(IMAGE_PLATFORMS); do f=$(BIN)/release/$$(echo $${p%/v7} | tr / _)/nestctl; [ ! -e $$f ] || echo $$p=$$f; done))
	@$(MAKE) --no-print-directory release-chart VERSION=$(VERSION) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH)
	$(RELEASE) sums

# A release of one platform that is built twice, and its packages; and what is refused. In `make test-all`.
test-release: bin/.registry-$(REGISTRY) bin/.debian-$(DEBIAN)
	cd internal/release && $(GOTEST) -count=1 ./...
	cd integration && $(GOTEST) -count=1 -timeout=30m -run='^TestRelease$$' .

# Publish what make release has made (.ci/publish): with nestctl, cosign and gh, in this order.
.PHONY: release-push release-sign release-upload
PUSH_TO ?= ghcr.io/nestedoci
release-push release-sign release-upload:
	@.ci/publish $(@:release-%=%) '$(VERSION)' '$(DIST)' '$(PUSH_TO)'

demo: build
	go run ./internal/demo

# The pages that are written from the code; tests fail when they differ.
docs:
	go test ./cmd/nestctl -run '^TestReference$$' -update
	go test ./config -run '^(TestComments|TestDocs)$$' -update
	go test ./internal/reference -run "^(TestTroubleshooting|TestErrorList|TestSchemas)$$" -update

# All documents as a site that works without a server, and without anything from elsewhere. Not in dist/, which make release
# empties, and whose files are the release's.
site:
	cd internal/site && go run . -root $(CURDIR) -out $(CURDIR)/site
	@echo 'open site/index.html'

# Without the race detector, which would compile everything a second time, and vet, which is in `make lint`.
test: packages tools build $(INSIDE)
	@rm -f $(BIN)/skipped
	$(MEMORY:%=TMPDIR=%) $(GOTEST) -vet=off -short -shuffle=on ./...
	cd integration && $(GOTEST) -vet=off -short -count=1 -timeout=20m ./...
	@$(SKIPPED)

# bin/results has all tests of one run.
test-all: packages tools tools-all build $(INSIDE)
	@rm -f $(BIN)/skipped $(BIN)/results
	$(MEMORY:%=TMPDIR=%) $(RACETEST) -shuffle=on ./...
	cd internal/site && $(GOTEST) -count=1 .
	cd internal/release && $(GOTEST) -count=1 .
	cd integration && $(RACETEST) -count=1 -timeout=40m ./...
	@go run .ci/cases.go $(BIN)/results
	@$(MAKE) --no-print-directory fuzz test-inside
	@if $(MAKE) -q kubelet; then $(MAKE) --no-print-directory test-kubelet; \
	else echo 'not run: the tests with Kubernetes, which `make test-kubelet` builds in ten minutes'; fi
	@if $(MAKE) -q moby; then $(MAKE) --no-print-directory test-docker; \
	else echo 'not run: the tests with Docker Engine, which `make test-docker` builds in ten minutes'; fi
	@[ -n "$(RACE)" ] || echo '  the race detector: needs gcc' >>$(BIN)/skipped
	@$(SKIPPED)

SKIPPED = if [ -s $(BIN)/skipped ]; then echo 'passed, but skipped:'; cat $(BIN)/skipped; else echo 'passed, nothing skipped'; fi

# Where files cost no disk: tests make and remove tens of thousands of small ones, at which ext4 is slow.
MEMORY = $(shell cd /dev/shm 2>/dev/null && [ -w . ] && ! grep -q ' /dev/shm [^ ]* [^ ]*noexec' /proc/mounts && \
	df -Pk . | awk 'NR == 2 && $$4 > 4000000 { print "/dev/shm" }')

# The loop: under a minute on two processors. Tests wait more than they compute, those of the first packages most;
# `make test-all` has the race detector, and all cuts and seeds of the tests that ask for -short. Half of what is computed
# is linking and programs that live for milliseconds: they end before collecting garbage is worth it.
unit:
	GOGC=400 $(MEMORY:%=TMPDIR=%) $(GOTEST) -short -shuffle=on -p=5 -parallel=4 ./remotes/transport/... ./cmd/... ./internal/node ./internal/doctor ./...
	cd internal/site && go test .

integration: packages tools tools-all build $(INSIDE)
	cd integration && $(RACETEST) -count=1 -timeout=40m ./...

# `make test-all` takes the oldest and the newest.
test-matrix: packages tools tools-all build $(MATRIX:%=bin/.matrix-%)
	cd integration && MATRIX=all $(RACETEST) -count=1 -timeout=20m -run='^TestMatrix$$' .

# In `make test-all`, as are the same tests with the newest containerd.
test-inside: packages tools build bin/.matrix-$(LTS)
	@$(call NESTED,$(LTS),$(BIN)/matrix/$(LTS)/containerd-nested)
	cd integration && INSIDE=$(basename $(LTS:v%=%)) $(RACETEST) -count=1 -timeout=20m -run='^TestInside' .

# In `make test-all` when Kubernetes is built already.
test-kubelet: packages tools tools-all build kubelet
	cd integration && $(RACETEST) -count=1 -timeout=10m -tags=kubelet -run='^Test(Kubelet|Cluster)$$' .

# In `make test-all` when Docker Engine is built already.
test-docker: packages tools tools-all build moby
	cd integration && $(RACETEST) -count=1 -timeout=10m -tags=docker -run='^TestDocker' .

# Tests write the rows of what they ran, with the version; those of Docker when the engine is built.
clients-doc: packages tools tools-all build
	cd integration && UPDATE=1 go test -count=1 -tags=docker -run='^(TestGatewayPrograms|TestGatewayBuildKitStopped|TestDocker|TestDockerGraph)$$' .

bench-gateway: build
	cd integration && go test -run='^$$' -bench=Gateway -benchtime=3x -timeout=20m .

bench-serve: tools build
	cd integration && go test -run='^$$' -bench=Serve -benchtime=1x -timeout=20m .

# BENCH has flags: -quick, -scenarios=REGEXP, -rounds=N. Measurements for benchstat go to bin/bench.txt.
BENCH ?= -write
bench: tools build containerd-nested
	cd integration && go test -run='^$$' -bench=Pulls -benchtime=1x -timeout=60m . -lines=$(BIN)/bench.txt $(BENCH)

bench-copy: tools build
	cd integration && go test -run='^$$' -bench=Copy -benchtime=1x -timeout=20m .

# The parts by themselves; benchstat reads bin/parts.txt.
bench-parts: tools build
	go test -run='^$$' -bench=. ./remotes/nested ./remotes/transport/... ./remotes/gateway >$(BIN)/parts.log
	@$(MAKE) --no-print-directory bench-gateway bench-serve bench-copy >>$(BIN)/parts.log
	grep -E '^(pkg|cpu|Benchmark)' $(BIN)/parts.log >$(BIN)/parts.txt
	{ echo; sed 's/^/    /; s/\t/ /g; s/  */ /g; s/^ /    /' $(BIN)/parts.txt; echo; } >$(BIN)/parts.md
	sed -i -e '/^<!-- parts: begin/,/^<!-- parts: end/{//!d}' -e '/^<!-- parts: begin/r $(BIN)/parts.md' docs/performance.md

fuzz:
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | \
	sed -E 's|/[^/]*:func | |' | while read -r dir name; do \
		echo "fuzz $$dir $$name"; \
		case $$name in FuzzLocationsFile) time=$(FUZZTIME_LOCATIONS);; FuzzCommands) time=$(FUZZTIME_COMMANDS);; FuzzFront) time=$(FUZZTIME_FRONT);; *) time=$(FUZZTIME);; esac; \
		(cd $$dir && go test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$$time .) || exit 1; \
	done

# Its figures are kept in bin/soak-SEED.txt.
soak: packages tools tools-all build containerd-nested
	cd integration && SOAK=$(MINUTES)m SOAK_PULLS=$(PULLS) SOAK_SEED=$(SEED) SOAK_DIR=$(BIN) \
		go test -count=1 -v -timeout=$$(($(MINUTES) + 30))m -run='^TestSoak$$' .

# The order of tests, and how many of them run at a time, are to decide nothing.
STRESS_COUNT := 1
stress:
	$(RACETEST) -count=$(STRESS_COUNT) -p=1 -parallel=1 ./...
	for n in 1 2 16; do GOMAXPROCS=$$n $(GOTEST) -count=$(STRESS_COUNT) -shuffle=on ./... || exit 1; done

lint: bin/.golangci-lint-$(LINT) bin/.actionlint-$(ACTIONLINT)
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./... && cd integration && go vet -tags=kubelet,docker ./...
	go mod tidy -diff && cd integration && go mod tidy -diff
	cd internal/site && go mod tidy -diff && go vet . && $(BIN)/golangci-lint run .
	cd internal/release && go vet ./... && go mod tidy -diff && $(BIN)/golangci-lint run ./...
	for mod in cmd/containerd-nested/*.mod; do go mod tidy -modfile=$$mod -diff || exit 1; done
	$(BIN)/golangci-lint run ./... && $(BIN)/golangci-lint run .ci/testlog.go && $(BIN)/golangci-lint run .ci/cases.go
	cd integration && $(BIN)/golangci-lint run --build-tags=kubelet,docker ./...
	cd internal/roots && go mod tidy -diff && go vet . && $(BIN)/golangci-lint run .
	cd integration/helm && go vet . && $(BIN)/golangci-lint run .
	$(BIN)/actionlint

# Not in `make test-all`: what becomes known elsewhere must not break a commit that was good yesterday.
vuln: bin/.govulncheck-$(VULN)
	@.ci/vuln

# What the tests need and do not build: runc, pass and gpg, systemd, other people's clients, openssl, which the documents
# use, graphviz, for which tree prints, and a C compiler for the race detector. They are Debian's packages.
NEEDED := runc pass gpg gpg-agent systemctl curl skopeo buildah openssl gcc dot
PACKAGES := runc pass gnupg systemd curl skopeo buildah openssl gcc libc6-dev graphviz
packages:
	@for p in $(NEEDED); do command -v $$p || missing=1; done >/dev/null; \
	if [ -z "$$missing" ]; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(PACKAGES); then exit; fi; \
	echo 'note: of $(NEEDED) not all are there, and only root can install them, with apt-get'; \
	[ "$$CI" != true ]

tools: $(TOOLS)

tools-all: $(TOOLS_ALL)

kubelet: bin/.kubernetes-$(KUBELET) bin/.cni-$(CNI)

moby: bin/.moby-$(MOBY)

bin/.containerd-%:
	$(INSTALL) -tags $(CONTAINERD_TAGS) \
		github.com/containerd/containerd/v2/cmd/containerd@$* \
		github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@$* \
		github.com/containerd/containerd/v2/cmd/ctr@$*
	@rm -f bin/.containerd-* && touch $@

# Built where the module cache has them: `go install MODULE@VERSION` refuses a go.mod with exclude
# directives, as 1.7 and 2.1 have it. Of each minor version one is kept, which the tests find by its
# minor.
bin/.matrix-%:
	dir=$$(go mod download -json github.com/containerd/containerd$(if $(filter v2.%,$*),/v2)@$* | \
		sed -n 's/^.*"Dir": "\(.*\)".*$$/\1/p') && [ -n "$$dir" ] && cd "$$dir" && \
	GOBIN=$(BIN)/matrix/$* \
		go install -mod=readonly -ldflags '-s -w' -tags $(CONTAINERD_TAGS) \
		./cmd/containerd ./cmd/containerd-shim-runc-v2 ./cmd/ctr
	@for other in $(BIN)/matrix/$(basename $*).*; do [ $$other = $(BIN)/matrix/$* ] || rm -rf $$other; done
	@rm -f bin/.matrix-$(basename $*).* && touch $@

# As the older containerds: buildkit's go.mod has exclude directives, and notation's versions are not listed everywhere,
# as `go install` wants it. In order: the module, the programs.
define IN_CACHE
dir=$$(go mod download -json $(1)@$* | sed -n 's/^.*"Dir": "\(.*\)".*$$/\1/p') && [ -n "$$dir" ] && cd "$$dir" && \
GOBIN=$(BIN) go install -mod=readonly -ldflags '-s -w' $(2)
endef

bin/.buildkit-%:
	$(call IN_CACHE,github.com/moby/buildkit,./cmd/buildkitd ./cmd/buildctl)
	@rm -f bin/.buildkit-* && touch $@

bin/.notation-%:
	$(call IN_CACHE,github.com/notaryproject/notation,./cmd/notation)
	@rm -f bin/.notation-* && touch $@

bin/.registry-%:
	$(INSTALL) github.com/distribution/distribution/v3/cmd/registry@$*
	@rm -f bin/.registry-* && touch $@

bin/.pass-%:
	$(INSTALL) github.com/docker/docker-credential-helpers/pass/cmd@$*
	@mv $(BIN)/cmd $(BIN)/docker-credential-pass
	@rm -f bin/.pass-* && touch $@

bin/.crane-%:
	$(INSTALL) github.com/google/go-containerregistry/cmd/crane@$*
	@rm -f bin/.crane-* && touch $@

bin/.oras-%:
	$(INSTALL) oras.land/oras/cmd/oras@$*
	@rm -f bin/.oras-* && touch $@

bin/.regctl-%:
	$(INSTALL) github.com/regclient/regclient/cmd/regctl@$*
	@rm -f bin/.regctl-* && touch $@

bin/.ko-%:
	$(INSTALL) github.com/google/ko@$*
	@rm -f bin/.ko-* && touch $@

bin/.conformance-%:
	$(INSTALL) github.com/opencontainers/distribution-spec/conformance@$*
	@rm -f bin/.conformance-* && touch $@

# Unpacked, because installing the package starts a service. Where there is no such package, the
# tests that want it are skipped. In order: the package, its version, the programs, further packages.
define UNPACK
dir=$$(mktemp -d) && trap "rm -rf $$dir" EXIT && cd $$dir && fetch() { apt-get -q -o APT::Sandbox::User=root download '$(1)=$(2)*' $(4); } && \
	if (fetch || { [ "$$(id -u)" = 0 ] && apt-get update -q && fetch; }) && \
		for deb in *.deb; do dpkg -x $$deb . || exit; done && install -D $(3) $(BIN)/; then \
		rm -f $(BIN)/.$(basename $(1))-[0-9]* && touch $(BIN)/$(@F); exit; fi; \
	echo "note: no $(1) $(2), which is a package of Debian's"; \
	[ "$$CI" != true ]
endef

# What a fresh Debian has, without a kernel, a service manager or Go, for the packages of a release.
bin/.debian-%:
	@for p in mmdebstrap rpm; do command -v $$p || missing=1; done >/dev/null; \
	if { [ -z "$$missing" ] || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
		mmdebstrap rpm debian-archive-keyring; }; } && mmdebstrap --quiet --mode=root --variant=essential \
		--format=tar $* $(BIN)/debian.tar; then \
		rm -f bin/.debian-* && touch $@; exit; fi; \
	echo 'note: no Debian $*, which root makes with mmdebstrap from its packages'; \
	[ "$$CI" != true ]

bin/.docker-registry-%:
	@$(call UNPACK,docker-registry,$*,usr/bin/docker-registry)

# The engine, which wants these programs beside it.
bin/.docker-%:
	@$(call UNPACK,docker.io,$*,usr/bin/docker usr/sbin/dockerd usr/sbin/docker-proxy)

# Its libraries come with buildah.
bin/.podman-%:
	@$(call UNPACK,podman,$*,usr/bin/podman usr/bin/conmon,conmon)

# In a module of its own, which nothing else needs: its replace lines are those of Kubernetes' module. One program has all
# of it, each part under its own name.
bin/.kubernetes-%:
	cd integration/kubelet && go mod tidy -diff && go build -p 2 \
		-ldflags '-s -w -X k8s.io/component-base/version.gitVersion=$*' -o $(BIN)/kubelet .
	@for part in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do ln -sf kubelet $(BIN)/$$part || exit 1; done
	@rm -f bin/.kubelet-* bin/.kubernetes-* && touch $@

bin/.cni-%:
	$(INSTALL) github.com/containernetworking/plugins/plugins/main/ptp@$* \
		github.com/containernetworking/plugins/plugins/ipam/host-local@$*
	@rm -f bin/.cni-* && touch $@

# In a module of its own as well, as a tool of it: nothing else needs what it needs. Beside Debian's dockerd it is moby.
bin/.moby-%:
	cd integration/moby && go mod tidy -diff && go build -p 2 -tags exclude_graphdriver_btrfs \
		-ldflags '-s -w -X github.com/moby/moby/v2/dockerversion.Version=$*' -o $(BIN)/moby github.com/moby/moby/v2/cmd/dockerd
	@rm -f bin/.moby-* && touch $@

# In a module of its own: it stands for the current skopeo, podman and buildah.
bin/.containersimage-%:
	cd integration/containersimage && go mod tidy -diff && go build -ldflags '-s -w' \
		-tags containers_image_openpgp -o $(BIN)/containersimage .
	@rm -f bin/.containersimage-* && touch $@

# In a module of its own: Helm's packages that render charts.
bin/.helmcharts-%: integration/helm/main.go
	cd integration/helm && go mod tidy -diff && go build -ldflags '-s -w' -o $(BIN)/helmcharts .
	@rm -f bin/.helmcharts-* && touch $@

bin/.golangci-lint-%:
	$(INSTALL) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$*
	@rm -f bin/.golangci-lint-* && touch $@

bin/.actionlint-%:
	$(INSTALL) github.com/rhysd/actionlint/cmd/actionlint@$*
	@rm -f bin/.actionlint-* && touch $@

bin/.govulncheck-%:
	$(INSTALL) golang.org/x/vuln/cmd/govulncheck@$*
	@rm -f bin/.govulncheck-* && touch $@

clean:
	rm -rf $(BIN) dist site
