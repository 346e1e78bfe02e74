.PHONY: build run test race vet bench fuzz

# Everything that has to pass.
test: vet
	go test ./...

race:
	go test -race ./...

vet:
	test -z "$$(gofmt -l .)"
	go vet ./...

# bin/ringfence
build:
	CGO_ENABLED=0 go build -trimpath -o bin/ringfence ./cmd/ringfence

# Serves on 127.0.0.1:8080 with its data in ./.ringfence, made on first start.
run: build
	bin/ringfence serve --init

# Every benchmark, with allocations.
bench:
	go test -run xxx -bench . -benchmem ./hashing ./engine/window ./scoring ./bench

# Every fuzz target, half a minute each.
fuzz:
	go test -run xxx -fuzz FuzzParse$$ -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzParseKeyring -fuzztime 30s ./hashing
	go test -run xxx -fuzz FuzzCount -fuzztime 30s ./engine/window
	go test -run xxx -fuzz FuzzDistinct -fuzztime 30s ./engine/window
	go test -run xxx -fuzz FuzzLoad -fuzztime 30s ./engine/record
	go test -run xxx -fuzz FuzzCompile -fuzztime 30s ./scoring
	go test -run xxx -fuzz FuzzDecode -fuzztime 30s ./api/intake
	go test -run xxx -fuzz FuzzRows -fuzztime 30s ./cmd/ringfence/replay
