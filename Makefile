.PHONY: test race vet

# Everything that has to pass.
test: vet
	go test ./...

race:
	go test -race ./...

vet:
	test -z "$$(gofmt -l .)"
	go vet ./...
