.PHONY: faults faults-store faults-server faults-long faults-links faults-flips faults-cuts faults-writes faults-model faults-kill faults-replies faults-full faults-overload faults-soak sweep-cost backtest-memory sabotage release snapshot latency invert verify vuln sbom reproducible tools check-packages build run test race vet lint bench bench-run bench-gate bench-baseline bench-peers bench-scale detection load demo fuzz

# Everything is tested and measured as it ships: without C, Pebble takes memory for blocks from Go. Only the race detector needs C.
export CGO_ENABLED = 0

GOLANGCI := 2.15.0
GOVULNCHECK := v1.1.4
CYCLONEDX := v1.9.0
ACTIONLINT := v1.7.12
GORELEASER := 2.15.1
RELEASER := cmd/ringfence/packaging/goreleaser.yaml
TOOLS := $(CURDIR)/.tools
FAULTS := 'TestPowerCuts|TestWriteErrors|TestBitFlips|TestLinksInAnyOrder|TestContract(InMemory|AcrossPowerCuts|OnDisk)/random'
HOT := ./hashing ./engine/window ./engine/record ./scoring ./api/intake ./engine/pebblestore ./api/server ./bench

# Everything that has to pass. With FAULTS_FORM=ci, as CI has it, the harnesses of bench/RELIABILITY.md go round as often as it says: a minute or two more.
FAULTS_FORM ?=
test: vet
	RINGFENCE_FAULTS=$(FAULTS_FORM) go test -timeout 20m ./...

# What builds the product twice learns nothing from the race detector, what compares times learns something wrong, and what asks
# the program one thing after another for minutes (the documentation, long lists and files, the search for digits) has done so in make test.
race:
	CGO_ENABLED=1 go test -race -timeout 20m -skip 'TestBuildsAreReproducible|TestLatencyTellsNothing|TestDocs$$|TestRealList|TestCanaries|TestBacktestFile|TestEveryFigure|TestSheets|TestTune$$|TestImportSurvivesKills' ./...

vet:
	test -z "$$(gofmt -l .)"
	go vet ./...
	cd bench/peers && go vet ./...

# The linter is built from source once, at a fixed version. The tests are a linter of openapi.yaml.
lint: $(TOOLS)/golangci-lint-$(GOLANGCI)
	$< run ./...
	cd bench/peers && $< run ./...
	go test -count=1 -run 'TestDescription|TestSchemas|TestRefusals|TestExamples' ./api/server

$(TOOLS)/golangci-lint-$(GOLANGCI):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI)
	mv $(TOOLS)/golangci-lint $@

# What tests use besides Go: systemd-analyze, Prometheus and its promtool, wrk, from the distribution. Without them those tests are skipped.
tools:
	command -v systemd-analyze || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd)
	command -v promtool || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus)
	command -v wrk || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk)

# What is packaged, against the schemas of those who read it: a module of its own, and a linter for workflows.
check-packages:
	cd cmd/ringfence/packaging/check && go vet ./... && go test ./...
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT) -shellcheck= -pyflakes= $(wildcard .github/workflows/*.yml)

# Archives, checksums and SBOMs of a tag, as a draft on GitHub. The workflow release does it; it needs GITHUB_TOKEN.
release: $(TOOLS)/goreleaser-$(GORELEASER)
	$< check $(RELEASER)
	$< release --clean --config $(RELEASER)

# The same of the commit that is here, in dist only. goreleaser is built from source once, which takes minutes.
snapshot: $(TOOLS)/goreleaser-$(GORELEASER)
	$< check $(RELEASER)
	$< release --snapshot --clean --config $(RELEASER)

$(TOOLS)/goreleaser-$(GORELEASER):
	GOBIN=$(TOOLS) go install github.com/goreleaser/goreleaser/v2@v$(GORELEASER)
	mv $(TOOLS)/goreleaser $@

# Modules are as go.sum has them. gosec is part of lint, and needs no network.
verify:
	go mod verify

# Known weaknesses in code that is reached. Needs the network, or VULNDB=file:///path/to/a/copy of vuln.go.dev.
vuln:
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) $(if $(VULNDB),-db $(VULNDB)) ./...

# What the program is made of: bin/ringfence.cdx.json, CycloneDX.
sbom: build
	go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX) bin -json -noserial -std -output bin/ringfence.cdx.json bin/ringfence

# Two builds of one commit, in two folders and with two empty caches.
reproducible:
	RINGFENCE_LONG=1 go test -count=1 -run TestBuildsAreReproducible ./cmd/ringfence

# Whether latency tells seen numbers from unseen ones: 10,000 of each, three times.
latency:
	RINGFENCE_LONG=1 go test -count=1 -v -run TestLatencyTellsNothing ./api/server

# What it costs to find the numbers behind stored values, without and with the pepper, and a passphrase, on this machine.
invert:
	go test -run xxx -bench 'Invert|Unseal' ./hashing

# bin/ringfence
build:
	go build -trimpath -o bin/ringfence ./cmd/ringfence

# Serves on 127.0.0.1:8080 with its data in ./.ringfence, made on first start.
run: build
	bin/ringfence serve --init

# What the embedded policy makes of made-up traffic.
demo: build
	bin/ringfence demo

# Every benchmark, with allocations; then every step of the path of an event and the floor beside it. Two minutes.
bench:
	go test -run xxx -bench . -benchmem $(HOT) | go run ./bench/gate -table

# What the hot path allocates, and how many times its floors it takes, against what it did. About a minute, and up to
# two more where a ratio is worse at first.
bench-gate:
	@$(MAKE) -s bench-run > .bench.txt
	go run ./bench/gate bench/baseline.txt < .bench.txt
	go run ./bench/gate -ratios bench/ratios.txt

bench-baseline:
	@$(MAKE) -s bench-run > .bench.txt
	go run ./bench/gate -update bench/baseline.txt < .bench.txt
	go run ./bench/gate -ratios -update bench/ratios.txt

# A file of made-up traffic is no step of the path of an event, nor is what the sweeper does.
bench-run:
	go test -run xxx -bench . -skip 'Unseal|Invert|Traffic|Forget|Stalls' -benchmem -benchtime 5000x -count 2 $(HOT)

# ringfence against Lua scripts in Redis and against Gin, in turns: about 7 minutes, on a machine that does
# nothing else. Installs redis-server where it is missing. ARGS="-rounds 1 -turn 1s" to look how it goes.
bench-peers:
	cd bench/peers && go run . $(ARGS)

# wrk, a load generator that nobody here wrote, against the single call and the batch: the table of ringfence docs operations.
# Two minutes, on a machine that does nothing else. ARGS="-turn 1s" to look how it goes.
load: build
	command -v wrk || $(MAKE) tools
	go run ./bench/wrk $(ARGS)

# What an event takes at 1 M and at 10 M phones: about 15 minutes and 5 GB of disk, on a machine that does nothing
# else. SCALE="-phones 100000000" takes up to an hour, 8 GiB of memory and some 30 GB of disk.
SCALE ?=
bench-scale:
	go build -o bin/scale ./bench/scale
	if [ -n "$(SCALE)" ]; then bin/scale $(SCALE); else \
		for phones in 1000000 10000000; do for mix in zipf uniform; do bin/scale -phones $$phones -mix $$mix || exit 1; done; done; fi

# What goes wrong in earnest, in a few minutes: see bench/RELIABILITY.md. As root, it also fills up a small disk. CI runs the first half with
# make test, and the second.
faults: faults-store faults-server

faults-store:
	RINGFENCE_FAULTS=ci go test -count 1 -timeout 30m -v -run $(FAULTS) ./engine/pebblestore -rapid.checks 100 -rapid.nofailfile

faults-server:
	go build -o bin/ ./bench/faults ./cmd/ringfence
	$(MAKE) -j 3 faults-kill faults-replies faults-full KILLS=25 REPLIES=3000 BUILT=yes
	bin/faults -bin bin/ringfence overload

# The same for hours, or a row of it for as long as is said: make faults-cuts CUTS=5000. Fuzzing is make fuzz FUZZTIME=8h.
CUTS ?= 100000
WRITES ?= 5000
FLIPS ?= 10000
HISTORIES ?= 5000
CHECKS ?= 140000
KILLS ?= 1000
REPLIES ?= 100000
SOAK ?= 1h
LONG := go test -count 1 -timeout 0 -v ./engine/pebblestore -rapid.nofailfile
SERVER = $(if $(BUILT),bin/faults -bin bin/ringfence,go run ./bench/faults)

faults-long: faults-links faults-flips faults-cuts faults-writes faults-model faults-kill faults-replies faults-full faults-overload faults-soak

faults-links:
	RINGFENCE_FAULTS=$(HISTORIES) $(LONG) -run 'TestLinksInAnyOrder$$'
faults-flips:
	RINGFENCE_FAULTS=$(FLIPS) $(LONG) -run 'TestBitFlips$$'
faults-cuts:
	RINGFENCE_FAULTS=$(CUTS) $(LONG) -run 'TestPowerCuts$$'
faults-writes:
	RINGFENCE_FAULTS=$(WRITES) $(LONG) -run 'TestWriteErrors$$'
# A check is some 70 operations.
faults-model:
	$(LONG) -run 'TestContract(InMemory|AcrossPowerCuts|OnDisk)/random' -rapid.checks $(CHECKS)
faults-kill:
	$(SERVER) -cycles $(KILLS) kill
faults-replies:
	$(SERVER) -cycles $(REPLIES) replies
faults-full:
	$(SERVER) full
faults-overload:
	$(SERVER) -long overload
faults-soak:
	$(SERVER) -long -for $(SOAK) soak

# What the sweeper costs, in turns with and without it in one process: three minutes, on a machine that does nothing else.
sweep-cost:
	RINGFENCE_LONG=1 go test -count 1 -v -run TestWhatSweepingCosts ./cmd/ringfence

# What a rescore and a replay of 10,000,000 events keep in memory: one to three minutes, of which the replay is most.
backtest-memory:
	RINGFENCE_LONG=10000000 go test -count 1 -timeout 0 -v -run 'TestMemoryIsBounded$$' ./scoring/backtest

# What the default policy notices of made-up campaigns, also the less intense they are: the tables of bench/DETECTION.md. A minute or two.
detection:
	RINGFENCE_LONG=1 go test -count 1 -v -run 'DefaultPolicyOn|RecallBy' ./bench

# Breaks the product on purpose: every harness has to notice.
sabotage:
	go run ./bench/sabotage

# Every fuzz target, half a minute each: make -j 2 fuzz FUZZWORKERS=1 tries two at a time.
FUZZTIME ?= 30s
FUZZWORKERS ?= $(or $(shell nproc 2>/dev/null),1)
FUZZ := $(addprefix hashing/,FuzzParse FuzzPlan FuzzParseKeyring FuzzSealedKeyring) \
	$(addprefix api/,access/FuzzKey access/FuzzFile audit/FuzzLine intake/FuzzDecode server/FuzzRequests) \
	$(addprefix engine/,window/FuzzCount window/FuzzDistinct record/FuzzLoad record/FuzzEntry) \
	$(addprefix scoring/,FuzzCompile FuzzConditions) cmd/ringfence/replay/FuzzRows
fuzz: $(FUZZ:%=fuzz/%)
# Making inputs smaller would take a minute each, in which nothing new is tried.
# Up to Go 1.26 the end of the time is now and then told as a failure (go.dev/issue/75804). What a target failed at it writes down, and says so.
fuzz/%:
	@mkdir -p .fuzz
	@go test -run xxx -fuzz $(*F)$$ -fuzztime $(FUZZTIME) -fuzzminimizetime 100x -parallel $(FUZZWORKERS) ./$(*D) > .fuzz/$(*F) 2>&1 || \
		{ grep -q 'context deadline exceeded' .fuzz/$(*F) && ! grep -q 'Failing input\|seed corpus\|panic' .fuzz/$(*F); } || { cat .fuzz/$(*F); exit 1; }
	@echo "$(*F): $$(grep '^fuzz: elapsed' .fuzz/$(*F) | tail -n 1)"
