# Weir. `make run` and `make test` set up all that they need on a Debian machine with Go, git and make.
SHELL := /bin/sh
GO ?= go
BIN := bin
# What tests use besides Go: routers, an independent decoder, real flow exporters, namespaces.
TEST_PACKAGES := bird2 frr tshark softflowd pmacct openvswitch-switch iproute2 ethtool procps libcap2-bin
RUN_PACKAGES := bird2 iproute2 ethtool
# Who Weir is put next to. One that is missing is a row that says so.
BENCH_PACKAGES := dpdk-dev fastnetmon tcpdump nfdump nfdump-sflow pmacct
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/weir-ddos/weir/appliance/version.Version=$(VERSION)
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help build run test test-race lint docs fuzz bench clean install

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## the product: bin/weir, bin/weirctl, bin/trafficgen, no cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./appliance/cmd/weir ./tools/weirctl ./tools/trafficgen

run: build ## the main job, shown: attack, detection, blackhole in a real router, withdrawal (REPLAY=file.pcap: from a capture, CONFIG=weir.yaml for it)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./tools/demo
	@if [ -z "$(REPLAY)" ] && [ "$$(id -u)" = 0 ]; then tools/setup/debian.sh $(RUN_PACKAGES); fi
	@$(BIN)/demo $(if $(REPLAY),--replay $(REPLAY)) $(if $(CONFIG),-c $(CONFIG)) $(DEMO)

test: ## everything: vet, build, layers, unit, end to end with real routers, race
	@tools/setup/debian.sh $(TEST_PACKAGES)
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	$(GO) test -count=1 -timeout 20m ./...
	$(MAKE) test-dpdk
	$(MAKE) test-snabb
	$(MAKE) test-race
	$(MAKE) cross
	$(MAKE) test-386

# The packages where goroutines meet; the rest gains nothing from the race detector.
RACE_PACKAGES := ./dataplane/traffic/... ./dataplane/worker/... ./dataplane/probe/... ./controlplane/... ./appliance/app/... ./appliance/api/... \
	./flowcollect/listen/... ./flowcollect/collector/... ./flowcollect/spread/... ./flowcollect/template/... ./flowcollect/sampling/... ./flowcollect/filter/...

test-race: ## the race detector where goroutines meet
	@command -v gcc >/dev/null 2>&1 || tools/setup/debian.sh gcc libc6-dev
	CGO_ENABLED=1 $(GO) test -race -short -count=1 -timeout 20m $(RACE_PACKAGES)

# Where the product builds besides linux/amd64. The tests are vetted where the system differs; those for 386 run.
CROSS := freebsd/amd64 linux/arm64 linux/386 darwin/arm64
CROSS_VET := freebsd/amd64 darwin/arm64

.PHONY: cross test-386

cross: ## the product for other systems: bin/OS-ARCH/, every package and test compiled (CROSS=freebsd/arm64: for that one)
	@set -e; export CGO_ENABLED=0; for t in $(CROSS); do echo "cross: $$t"; export GOOS=$${t%/*} GOARCH=$${t#*/}; $(GO) build ./...; \
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/$$GOOS-$$GOARCH/ ./appliance/cmd/weir ./tools/weirctl ./tools/trafficgen; done; \
	for t in $(filter $(CROSS_VET),$(CROSS)); do echo "cross: vet $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./...; done

test-386: ## the short tests as 32-bit programs
	@export CGO_ENABLED=0 GOOS=linux GOARCH=386; set -e; $(GO) build -o $(BIN)/linux-386/ ./appliance/cmd/weir; \
	if $(BIN)/linux-386/weir version >/dev/null; [ $$? = 126 ]; then echo "test-386: skipped, this kernel runs no 32-bit programs"; exit 0; fi; \
	echo "$(GO) test -short ./... for 386"; $(GO) test -short -count=1 -timeout 20m ./...

lint: ## golangci-lint with the rules of .golangci.yml
	$(GO) run $(GOLANGCI) run ./...

docs: ## the generated documentation of the configuration
	$(GO) generate ./...

fuzz: ## a minute of fuzzing for every fuzz target
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-60s} $$p || exit 1; done; done

bench: build ## the figures of the README, one table
	@if [ "$$(id -u)" = 0 ]; then tools/setup/debian.sh $(RUN_PACKAGES) $(DPDK_PACKAGES) $(BENCH_PACKAGES); fi
	$(GO) run ./bench

.PHONY: pgo
pgo: ## profile the hot paths anew for the compiler: appliance/cmd/weir/default.pgo (as root)
	GO=$(GO) bench/pgo.sh

install: build ## /usr/bin, systemd unit, example configuration
	install -D -m 755 $(BIN)/weir $(DESTDIR)/usr/bin/weir
	install -D -m 755 $(BIN)/weirctl $(DESTDIR)/usr/bin/weirctl
	ln -sf weirctl $(DESTDIR)/usr/bin/fcli
	install -D -m 644 appliance/packaging/weir.service $(DESTDIR)/lib/systemd/system/weir.service
	[ -e $(DESTDIR)/etc/weir/weir.yaml ] || install -D -m 640 appliance/packaging/weir.yaml $(DESTDIR)/etc/weir/weir.yaml

clean: ## remove what was built
	rm -rf $(BIN)

# DPDK: its flags come through the environment, since Go refuses some of them in #cgo lines.
DPDK_PACKAGES := libdpdk-dev pkg-config gcc libc6-dev libpcap-dev
DPDK_ENV = CGO_ENABLED=1 CGO_CFLAGS="$$(pkg-config --cflags libdpdk) -O3" CGO_LDFLAGS="$$(pkg-config --libs libdpdk)"
DPDK_TESTED := ./dataplane/port/dpdk/... ./dataplane/port/pcaplive/... ./appliance/e2e/dpdk

.PHONY: build-dpdk install-dpdk test-dpdk

build-dpdk: ## bin/weir-dpdk: the product with DPDK and live libpcap, by cgo
	@tools/setup/debian.sh $(DPDK_PACKAGES)
	$(DPDK_ENV) $(GO) build -tags dpdk,pcap -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/weir-dpdk ./appliance/cmd/weir

install-dpdk: build-dpdk ## /usr/bin/weir-dpdk, and the drop-in that has the unit run it
	install -D -m 755 $(BIN)/weir-dpdk $(DESTDIR)/usr/bin/weir-dpdk
	install -D -m 644 appliance/packaging/weir-dpdk.conf $(DESTDIR)/lib/systemd/system/weir.service.d/dpdk.conf

test-dpdk: ## the cgo drivers, and the product built with them, on virtual devices
	@tools/setup/debian.sh $(DPDK_PACKAGES) dpdk-dev iproute2 ethtool
	@if ! pkg-config --exists libdpdk 2>/dev/null; then echo "test-dpdk: skipped, DPDK is not installed (see above)"; exit 0; fi; set -e; \
	export $(DPDK_ENV); \
	echo "$(GO) vet, $(GO) test -tags dpdk,pcap $(DPDK_TESTED) ./bench/dpdk/..."; \
	$(GO) vet -tags dpdk,pcap $(DPDK_TESTED) ./appliance/cmd/weir ./bench/dpdk/...; \
	$(GO) test -tags dpdk,pcap -count=1 -timeout 5m $(DPDK_TESTED); \
	$(GO) test -tags dpdk,pcap -count=1 -timeout 5m ./bench/dpdk/...

.PHONY: build-snabb install-snabb test-snabb

build-snabb: ## bin/weir-firehose.so: the library that Snabb loads, by cgo
	@tools/setup/debian.sh gcc libc6-dev
	CGO_ENABLED=1 $(GO) build -tags snabb -buildmode=c-shared -trimpath -ldflags '-s -w' -o $(BIN)/weir-firehose.so ./dataplane/port/snabb/firehose
	@rm -f $(BIN)/weir-firehose.h

install-snabb: build-snabb ## /usr/lib/weir/weir-firehose.so, for: snabb firehose -i PCIADDRESS /usr/lib/weir/weir-firehose.so
	install -D -m 755 $(BIN)/weir-firehose.so $(DESTDIR)/usr/lib/weir/weir-firehose.so

test-snabb: ## the library in a loop like Snabb's
	@tools/setup/debian.sh gcc libc6-dev luajit
	@if ! command -v gcc >/dev/null 2>&1; then echo "test-snabb: skipped, gcc is not installed (see above)"; exit 0; fi; set -ex; export CGO_ENABLED=1; \
	$(GO) vet -tags snabb ./dataplane/port/snabb/...; \
	$(GO) test -tags snabb -count=1 -timeout 5m ./dataplane/port/snabb/snabbtest
