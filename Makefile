# make help lists the targets. CONTRIBUTING.md says when to use them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Go uses all processors by itself, and two targets at once would only mix
# their output.
.NOTPARALLEL:

# The Go installer puts the go command into /usr/local/go/bin, which a shell's PATH may lack.
export PATH := $(PATH):/usr/local/go/bin

ARGS ?=                # make run ARGS="--log-level=debug": more flags for outboxd
PKG ?= ./...           # make test PKG=./relay/...: only these packages
TESTFLAGS ?=           # make test TESTFLAGS="-run TestClaim -v": more flags for go test
FUZZTIME ?= 30s        # make fuzz FUZZTIME=5m: how long each target runs
BENCH ?= .             # make bench BENCH=Drain: which benchmarks
DURATION ?= 5m         # make chaos DURATION=30m, make cluster: how long faults are injected, with each seed
SEED ?= 1              # make chaos SEED=7: the number from which the random faults follow
SEEDS ?= 1             # make chaos SEEDS=5: how many runs, each with the next seed
MODULE ?=              # make module MODULE=git.example.com/team/outboxd: the new module path of a fork
DIST ?= dist            # make dist DIST=/tmp/release: where the results go
ROWS ?= 10000000       # make migrate-load ROWS=100000: how many rows each table has
EVENTS ?= 500000       # make conservation EVENTS=2000000: how many events to count

# Modules of their own, which ./... does not reach.
MODULES := client docs/examples/orders

GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
CYCLONEDX_VERSION := v1.10.0

# The date is the commit's and not the clock's, so that one commit gives one binary.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# A linter built by an older Go refuses newer code, so the file name carries both versions.
GOVERSION = $(shell go env GOVERSION 2>/dev/null)
GOLANGCI = .bin/golangci-lint-$(GOLANGCI_VERSION)-$(GOVERSION)
GOVULNCHECK = .bin/govulncheck-$(GOVULNCHECK_VERSION)-$(GOVERSION)
CYCLONEDX = .bin/cyclonedx-gomod-$(CYCLONEDX_VERSION)-$(GOVERSION)

# A server that the environment names need not be installed.
SERVERS = $(if $(OUTBOXD_DATABASE_URL)$(DATABASE_URL)$(OUTBOXD_EMBEDDED_POSTGRES_BIN),,postgresql) \
	$(if $(OUTBOXD_REDIS_URL)$(REDIS_URL)$(OUTBOXD_EMBEDDED_REDIS_SERVER),,redis)

.PHONY: run
run: ## Install what is missing, build, and start everything on servers of its own
	@.ci/setup go $(SERVERS)
	@$(MAKE) --no-print-directory build
	./bin/outboxd --roles=all $(ARGS)

.PHONY: test
test: ## Install what is missing and run every test, race detector on
	@.ci/setup go cc postgresql redis pgbouncer chromium promtool faketime python3 node curl
	@# No test may touch the servers that somebody's environment names. The race detector would let each process sleep
	@# for a second at its end. The modules run at the same time, because their tests wait for servers most of the time.
	@# make lint runs go vet, and another run of it here would take half a minute. With -trimpath, Go's build cache serves
	@# every checkout; the tests of the other modules need to know in which folder they were compiled.
	@unset DATABASE_URL REDIS_URL $${!OUTBOXD_@}; start=$$SECONDS; export CGO_ENABLED=1 GORACE="atexit_sleep_ms=0 $${GORACE:-}"; \
	in_module() { cd "$$1" || return; local paths=; [ "$$1" != . ] || paths=-trimpath; go test $$paths -race -tags=crashpoints -vet=off -shuffle=on -count=1 -timeout=60m $(TESTFLAGS) $(PKG); }; export -f in_module; \
	if printf '%s\n' . $(if $(filter ./...,$(PKG)),$(MODULES)) | xargs -P 2 -I {} bash -c 'in_module {}'; then \
		echo "PASSED: every test of $(strip $(PKG)), in $$((SECONDS - start)) s"; \
	else \
		echo "FAILED after $$((SECONDS - start)) s: see the lines above that begin with FAIL or ---" >&2; exit 1; \
	fi

.PHONY: build
build: ## Build bin/outboxd, a static binary
	@# Version control information comes in through LDFLAGS: Go's own stamping fails in a tree that another user owns.
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='$(LDFLAGS)' -o bin/outboxd .

.PHONY: dist
dist: $(CYCLONEDX) ## Make a release in DIST: archives, .deb, .rpm, OCI image, SBOM, checksums
	@.ci/setup go
	cd deploy/dist && go run . -root='$(CURDIR)' -out='$(abspath $(strip $(DIST)))' -sbom='$(CURDIR)/$(CYCLONEDX)' \
		-version='$(VERSION)' -commit='$(COMMIT)' -date='$(DATE)'

.PHONY: dist-test
dist-test: $(CYCLONEDX) ## Prove that a release can be made again, and install, upgrade, run and remove its packages
	@.ci/setup go postgresql redis
	.ci/dist-test

.PHONY: chart
chart: ## Lint the Helm chart, render it for several values, and decode every object strictly
	@.ci/setup go
	cd deploy/helm/test && go test -count=1 $(TESTFLAGS) ./...

.PHONY: lint
lint: $(GOLANGCI) ## Check style, package borders, format, go.mod, generated files, links and licences
	@.ci/setup go
	@for module in . $(MODULES); do \
		echo "checking the module in $$module"; cd $(CURDIR)/$$module; \
		$(CURDIR)/$(GOLANGCI) run; $(CURDIR)/$(GOLANGCI) fmt --diff; go vet ./...; go mod tidy -diff; \
	done
	.ci/generated
	.ci/links
	.ci/licenses
	@if command -v shellcheck >/dev/null; then set -x; shellcheck --severity=warning .ci/*; else for f in .ci/*; do bash -n $$f; done; fi

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## Look for known vulnerabilities in the code that is called
	.ci/vulncheck $(CURDIR)/$(GOVULNCHECK) . $(MODULES)

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the Go code
	for module in . $(MODULES); do (cd $$module && $(CURDIR)/$(GOLANGCI) fmt); done

.PHONY: fanout
fanout: ## Send 10,000 events of a foreign service to three consumers, while everything is killed in turn
	@.ci/setup go postgresql redis
	go test -count=1 -timeout=30m -v -run='^TestFanOut$$' ./app -fanout=10000 -fanout-rounds=3 $(TESTFLAGS)

.PHONY: module
module: ## Rewrite the module paths of a fork to MODULE, so that go get finds it
	@.ci/module $(MODULE)

.PHONY: fork
fork: ## Prove on a copy that a fork with other module paths works, and that a service builds against it
	@.ci/setup go
	.ci/fork

.PHONY: generate
generate: ## Write the generated files: configuration reference, example configuration, manual pages
	go generate ./...

.PHONY: matrix
matrix: ## Run the core suite and a minute of chaos on each PostgreSQL, with Redis and Valkey: MATRIX, one table
	@.ci/setup go redis
	.ci/matrix

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each
	@.ci/setup go postgresql redis
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## Run the Go benchmarks
	@.ci/setup go postgresql redis
	go test -run='^$$' -bench='$(strip $(BENCH))' -benchmem -timeout=60m $(TESTFLAGS) $(PKG)

.PHONY: bench-peers
bench-peers: ## Measure outboxd beside River and beside a plain Asynq worker: ARGS="--events 20000"
	@.ci/setup go postgresql redis
	cd app/bench/peers && CGO_ENABLED=0 go build -trimpath -o $(CURDIR)/bin/peers .
	./bin/peers bench peers $(ARGS)

.PHONY: faults
faults: ## Answer every command to Redis in every wrong way; make test tries a sample
	@.ci/setup go cc postgresql redis
	CGO_ENABLED=1 go test -race -count=1 -timeout=60m -run='^(TestOnlyAPositiveAnswerCounts|TestTheWorkerOutlivesEveryAnswer)$$' $(TESTFLAGS) ./relay ./jobs/work -every-fault

.PHONY: settings
settings: ## Work under each setting of roles and databases alone; make test sets several at once
	@.ci/setup go cc postgresql redis pgbouncer
	CGO_ENABLED=1 go test -race -count=1 -timeout=60m -run='^TestSettings' $(TESTFLAGS) ./relay -every-setting

# Built without the race detector, because its cost would be most of what is measured.
CHAOS = cd app/chaos && CGO_ENABLED=0 go test . -count=1 -timeout=0 -v -parallel=1 -chaos.outboxd='$(CURDIR)/bin/outboxd' -chaos.seed=$(strip $(SEED)) -chaos.seeds=$(strip $(SEEDS))

.PHONY: chaos
chaos: ## Break everything at random for DURATION, and count what is lost: SEED, SEEDS
	@.ci/setup go postgresql redis
	@# A run without faketime leaves out the steps of PostgreSQL's clock, and says so.
	@.ci/setup faketime || true
	@$(MAKE) --no-print-directory build
	$(CHAOS) -run='^TestChaos$$' -chaos.duration=$(strip $(DURATION))

.PHONY: cluster
cluster: ## Kill and empty masters of a Redis Cluster and move slots for DURATION, and count: SEED, SEEDS
	@.ci/setup go postgresql redis
	@$(MAKE) --no-print-directory build
	$(CHAOS) -run='^TestClusterStorm$$' -chaos.cluster -chaos.duration=$(strip $(DURATION))

.PHONY: failovers
failovers: ## Fail over Sentinels ten times, promote standbys of PostgreSQL that lag and suspend the leader, under load
	@.ci/setup go postgresql redis
	CGO_ENABLED=0 go test -count=1 -timeout=30m -v -run='^(TestSentinelFailsOver|TestPostgresGoesBack|TestTheLeaderIsSuspended)$$' $(TESTFLAGS) ./app ./relay -every-failover

.PHONY: rolling
rolling: ## Replace three processes one by one by another version with another migration, and back, under load
	@.ci/setup go postgresql redis
	CGO_ENABLED=0 go test -count=1 -timeout=30m -v -run='^TestRollingReplacement$$' ./app -rolling=5 $(TESTFLAGS)

.PHONY: migrate-load
migrate-load: ## Apply a migration of each kind to tables of ROWS rows under load, and print the longest waits
	@.ci/setup go postgresql redis
	@# On a disk: so many rows do not fit into memory.
	TMPDIR=$${TMPDIR:-/var/tmp} CGO_ENABLED=0 go test -count=1 -timeout=60m -v -run='^TestMigrateUnderLoad$$' ./app -migrate-rows=$(strip $(ROWS)) $(TESTFLAGS)

.PHONY: growth
growth: ## Feed one to four databases on a Redis Cluster, print how the rate of the relays grows, and draw docs/images/growth.svg
	@.ci/setup go postgresql redis
	CGO_ENABLED=0 go test -count=1 -timeout=60m -v -run='^TestGrowth$$' ./app -growth=10 -growth-plot='$(CURDIR)/docs/images/growth.svg' $(TESTFLAGS)

.PHONY: conservation
conservation: ## Kill processes and backends while EVENTS events pass, and count: SEED, SEEDS
	@.ci/setup go postgresql redis
	@$(MAKE) --no-print-directory build
	$(CHAOS) -run='^TestConservation$$' -chaos.duration=1h -chaos.events=$(strip $(EVENTS)) -chaos.effects=$(strip $(EVENTS))

.PHONY: clean
clean: ## Remove what was built, the tools of lint and vulncheck too
	rm -rf bin .bin

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'
	@echo; echo "Variables:"
	@grep -hE '^[A-Z]+ \?= .*#' $(MAKEFILE_LIST) | sed -E 's/^([A-Z]+) \?= *([^ ]*) *# /\1|/' | \
		awk -F'|' '{ printf "  %-15s %s\n", $$1, $$2 }'

.bin/golangci-lint-%:
	@.ci/setup go
	@echo "building golangci-lint $(GOLANGCI_VERSION): a few minutes, once"
	GOBIN=$(CURDIR)/.bin GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .bin/golangci-lint $@

.bin/cyclonedx-gomod-%:
	@.ci/setup go
	GOBIN=$(CURDIR)/.bin GOFLAGS= go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)
	@mv .bin/cyclonedx-gomod $@

.bin/govulncheck-%:
	@.ci/setup go
	GOBIN=$(CURDIR)/.bin GOFLAGS= go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@mv .bin/govulncheck $@
