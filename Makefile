.PHONY: faults faults-long sabotage latency invert verify vuln sbom reproducible tools check-packages build run test race vet lint bench bench-run bench-gate bench-baseline bench-peers bench-scale demo fuzz

GOLANGCI := 2.15.0
GOVULNCHECK := v1.1.4
CYCLONEDX := v1.9.0
ACTIONLINT := v1.7.12
TOOLS := $(CURDIR)/.tools
FAULTS := 'TestPowerCuts|TestWriteErrors|TestBitFlips|TestLinksInAnyOrder|TestContract(InMemory|AcrossPowerCuts|OnDisk)/random'
HOT := ./hashing ./engine/window ./engine/record ./scoring ./api/intake ./engine/pebblestore ./api/server ./bench

# Everything that has to pass.
test: vet
	go test ./...

race:
	go test -race ./...

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

# What tests use besides Go: systemd-analyze, Prometheus and its promtool, from the distribution. Without them those tests are skipped.
tools:
	command -v systemd-analyze || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd)
	command -v promtool || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus)

# What is packaged, against the schemas of those who read it: a module of its own, and a linter for workflows.
check-packages:
	cd cmd/ringfence/packaging/check && go vet ./... && go test ./...
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT) -shellcheck= -pyflakes= $(wildcard .github/workflows/*.yml)

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
	CGO_ENABLED=0 go build -trimpath -o bin/ringfence ./cmd/ringfence

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

bench-run:
	go test -run xxx -bench . -skip 'Unseal|Invert' -benchmem -benchtime 5000x -count 2 $(HOT)

# ringfence against Lua scripts in Redis and against Gin, in turns: about 7 minutes, on a machine that does
# nothing else. Installs redis-server where it is missing. ARGS="-rounds 1 -turn 1s" to look how it goes.
bench-peers:
	cd bench/peers && go run . $(ARGS)

# What an event takes at 1 M and at 10 M phones: about 15 minutes and 5 GB of disk, on a machine that does nothing
# else. SCALE="-phones 100000000" takes up to an hour, 8 GiB of memory and some 30 GB of disk.
SCALE ?=
bench-scale:
	go build -o bin/scale ./bench/scale
	if [ -n "$(SCALE)" ]; then bin/scale $(SCALE); else \
		for phones in 1000000 10000000; do for mix in zipf uniform; do bin/scale -phones $$phones -mix $$mix || exit 1; done; done; fi

# What goes wrong in earnest, in a few minutes: see bench/RELIABILITY.md. As root, it also fills up a small disk.
faults:
	RINGFENCE_FAULTS=ci go test -count 1 -v -run $(FAULTS) ./engine/pebblestore -rapid.checks 100 -rapid.nofailfile
	go run ./bench/faults kill replies full overload

# The same for hours.
faults-long:
	RINGFENCE_FAULTS=long go test -count 1 -timeout 0 -v -run $(FAULTS) ./engine/pebblestore -rapid.checks 200000 -rapid.nofailfile
	go run ./bench/faults -long kill replies full overload soak

# Breaks the product on purpose: every harness has to notice.
sabotage:
	go run ./bench/sabotage

# Every fuzz target, half a minute each.
fuzz:
	go test -run xxx -fuzz FuzzParse$$ -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzPlan -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzParseKeyring -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzSealedKeyring -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzKey$$ -fuzztime 30s ./api/access
	go test -run xxx -fuzz FuzzFile -fuzztime 30s ./api/access
	go test -run xxx -fuzz FuzzLine -fuzztime 30s ./api/audit
	go test -run xxx -fuzz FuzzCount -fuzztime 30s ./engine/window
	go test -run xxx -fuzz FuzzDistinct -fuzztime 30s ./engine/window
	go test -run xxx -fuzz FuzzLoad -fuzztime 30s ./engine/record
	go test -run xxx -fuzz FuzzCompile -fuzztime 30s ./scoring
	go test -run xxx -fuzz FuzzConditions -fuzztime 30s ./scoring
	go test -run xxx -fuzz FuzzDecode -fuzztime 30s ./api/intake
	go test -run xxx -fuzz FuzzRows -fuzztime 30s ./cmd/ringfence/replay
	go test -run xxx -fuzz FuzzRequests -fuzztime 30s ./api/server
