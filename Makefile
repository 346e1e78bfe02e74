.PHONY: build run test race vet

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
