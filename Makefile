# make, make check: what every change must pass. The other targets are explained in CONTRIBUTING.md.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := check

# The programs are static: they run in namespaces and on hosts that have nothing but a kernel.
export CGO_ENABLED := 0

# short: fewer rounds in make bench.
BENCH ?=
# How often each Go benchmark runs.
COUNT ?= 10
# How long each fuzz target runs.
T ?= 30s
# Flags of `sallyport up`, for make run.
ARGS ?=
# A copy of the vulnerability database (file://…), for a machine that cannot reach it.
VULNDB ?=

PROGRAMS := $(notdir $(patsubst %/main.go,%,$(wildcard cmd/*/main.go)))
TOOL     := go tool -modfile=tools/go.mod
GOTEST   := go -C tools run ./gotest "$(CURDIR)"
# Two packages at a time: kernel tests and etcd's fsyncs share the machine.
TESTFLAGS := -shuffle=on -p 2 -timeout 25m
# Rooms whose tests load programs into the kernel or make network namespaces.
KERNEL := $(addsuffix /...,$(addprefix ./,$(wildcard internal/agent internal/bind internal/datapath internal/vpcnet test/e2e)))

.PHONY: check build run test race kernel clients kill fuzz bench bench-go generate golden deadcode vuln guide fmt clean

check:
	$(TOOL) golangci-lint fmt --diff
	go vet -tags invariants ./...
	$(TOOL) golangci-lint run ./...
	go -C tools vet ./gotest
	go test -short -tags invariants -p 2 ./...

build:
	@mkdir -p bin
	go build -trimpath -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

run:
	@tools/install run
	@$(MAKE) --no-print-directory build
	exec bin/sallyport up $(ARGS)

test:
	@tools/install test
	@tools/install javascript
	go -C tools test ./gotest
	@$(GOTEST) $(TESTFLAGS) ./...

race:
	CGO_ENABLED=1 go test -race $(TESTFLAGS) ./...

kernel:
	@tools/install test
	@[ "$$(id -u)" -eq 0 ] || { echo 'make kernel: needs root (network namespaces, eBPF)' >&2; exit 1; }
	@$(GOTEST) -count=1 -p 1 -timeout 25m $(KERNEL)

clients:
	@tools/install clients
	@tools/install javascript
	@$(GOTEST) -count=1 -timeout 25m ./test/clients/...

kill:
	go test -count=1 -run '^TestKill$$' -timeout 60m -v ./internal/store -kill-rounds 200

fuzz:
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $(wildcard cmd internal test) | sort | while IFS=: read -r file func; do \
		echo "fuzz $${func#func } in $$(dirname "$$file") for $(T)"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(T) "./$$(dirname "$$file")"; \
	done

# Ratios, in some eight minutes; BENCH=short in three. Results worth keeping go to bench/results/ by hand.
bench: build
	@tools/install bench
	@if [ "$$(id -u)" -eq 0 ]; then go run ./bench/datapath $(if $(BENCH),-$(BENCH)) | tee bench/latest-datapath.txt; \
		else echo 'bench/datapath: left out, it needs root'; fi
	@go run ./bench/api $(if $(BENCH),-$(BENCH)) | tee bench/latest-api.txt

bench-go:
	go test -run '^$$' -bench . -benchmem -count $(COUNT) -p 1 -timeout 60m ./... | tee bench/latest-go.txt
	$(TOOL) benchstat $$(ls bench/baseline.txt 2>/dev/null) bench/latest-go.txt

generate:
	@tools/install generate
	go generate ./...
	@[ -z "$${CI-}" ] || git diff --exit-code

golden:
	@grep -rlE --include='*_test.go' 'flag\.Bool\("update"|opstest\.PlayStories' . | xargs -n1 dirname | sort -u | xargs go test -p 2 -update

deadcode:
	$(TOOL) deadcode -test ./...

vuln:
	$(TOOL) govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...

guide:
	@go test -count=1 -run '^TestMatrix$$' -matrix | sed '/^ok /d; /^PASS$$/d'

fmt:
	$(TOOL) golangci-lint fmt

clean:
	rm -rf bin
