# Xen vTPM stub domains in Go. `make help` lists the targets; the logic lives
# in tools/ (each program has --help), this file only names the steps.

GO      ?= go
CACHE   ?= $(CURDIR)/.cache
export XENVTPM_CACHE = $(CACHE)
export CGO_ENABLED = 0

XENLAB  = $(GO) run ./tools/xenlab
IMAGE   = $(GO) run ./tools/stubimage
FUZZTIME ?= 2s
VERSION ?= 0.0.0-dev
PREFIX  ?= /usr/local
DESTDIR ?=

# One make at a time works in a clone: a second one waits, and says so. The lock is
# flock's own (-o), so that nothing that is left running can keep it.
define alone
@mkdir -p build
@flock -n build/.lock true || echo "another make is at work in this clone: waiting for it"
@flock -o build/.lock $(MAKE) --no-print-directory $(1)
endef

.PHONY: alone-run alone-test
.PHONY: help run test test-long unit vet vet-metal release-check fuzz toolchain images lab storm bench bench-engine bench-manager bench-vtpmd repro release install deps clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## boot Xen, the manager, a vTPM and a Debian guest, end to end
	$(call alone,alone-run)

alone-run: images
	$(XENLAB) run firstlight

test: ## everything: vet, unit tests, fuzz smoke, images, release, Xen scenarios
	$(call alone,alone-test)

alone-test: deps vet unit fuzz images vet-metal release-check lab

deps: ## install the Debian packages that tests and lab use (says which)
	$(XENLAB) deps --tests

vet: ## go vet and gofmt
	$(GO) vet ./...
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofmt'd: $$out"; exit 1; }

vet-metal: ## go vet of the packages that only a TamaGo toolchain builds
	$(GO) run ./tools/tamago go vet -unsafeptr=false -tags linkcpuinit,tiny ./board/... ./boot/... ./drivers/... ./vtpm-stub ./vtpmmgr-stub

unit: ## unit tests with the race detector, import rules included
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...
	$(GO) test -run TestExplore ./vtpmmgr-stub/manager

test-long: images ## what make test leaves out: every firmware with every TPM interface of QEMU, storm, many devices
	XENVTPM_REQUIRE_CLIENTS=1 $(GO) test -timeout 30m ./tools/vtpmd/clienttest -run 'TestSleep|TestPresence' -args -long
	$(XENLAB) run storm
	$(XENLAB) run many

fuzz: ## every fuzz target for FUZZTIME
	$(GO) run ./tools/fuzz -time $(FUZZTIME)

toolchain: ## derive the GOOS=tamago toolchain (or use $$TAMAGO)
	$(GO) run ./tools/tamago path

images: ## build all images into build/images
	$(IMAGE) build

lab: images ## the Xen scenarios
	$(XENLAB) run smoke
	$(XENLAB) run lifecycle
	$(XENLAB) run presence
	$(XENLAB) run restart
	$(XENLAB) run firstlight
	$(XENLAB) run tools
	$(XENLAB) run manager
	$(XENLAB) run manager12
	$(XENLAB) run large

storm: images ## 20 vTPM domains on one manager, all saving, one client hostile
	$(XENLAB) run storm

bench: images bench-engine bench-manager bench-vtpmd ## benchmarks, as tables
	$(XENLAB) run bench
	$(XENLAB) run large --param full=1

bench-engine: ## the TPM engine in process, without a socket
	$(GO) test -run '^$$' -bench 'GetRandom|PCRRead|PCRExtend|Objects' -benchmem ./vtpm-stub/tpm2

bench-vtpmd: ## vtpmd beside swtpm, over the same kind of socket
	$(GO) run ./tools/vtpmbench -o docs/benchmarks.md

bench-manager: ## the manager's store and rollback counter, with swtpm as hardware
	$(GO) test -run '^$$' -bench 'Save|Start100k|Increment' ./vtpmmgr-stub/manager ./vtpmmgr-stub/hwtpm
	$(GO) test -run '^$$' -bench QuietSave -benchtime 1x ./vtpmmgr-stub/app

repro: ## build everything twice, differently, and compare
	$(IMAGE) repro

release-check: images ## a release with a throw-away key, installed below build/dest
	rm -rf build/dest
	$(IMAGE) release --version 0.0.0-check
	$(IMAGE) install --destdir build/dest --prefix /usr/local
	build/dest/usr/local/sbin/stubimage verify --release build/release/current --policy build/dest/etc/xenvtpm/trust
	build/dest/usr/local/sbin/stubimage verify --installed --destdir build/dest --policy build/dest/etc/xenvtpm/trust
	test -s build/dest/usr/local/share/man/man8/vtpmctl.8
	grep -q '"/usr/local/lib/xenvtpm/vtpm-stub"' build/dest/usr/local/share/xenvtpm/xl-configs/vtpm-guest1.cfg

release: ## build, compare, sign and verify a release folder (VERSION=)
	$(IMAGE) release --version $(VERSION)

install: ## install a built release below DESTDIR and PREFIX
	$(IMAGE) install --destdir "$(DESTDIR)" --prefix "$(PREFIX)"

clean: ## remove what was built; the cache stays
	rm -rf build/*
