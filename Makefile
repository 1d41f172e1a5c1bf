# What people run most. `make` alone says what there is.

CARGO ?= cargo
PROFILE ?= ci
SECONDS ?= 30

.PHONY: help build run test check fmt doc crash-states sim soak mutants crash bench abuse fuzz fuzz-all coverage clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build everything, optimised
	$(CARGO) build --release --workspace

run: ## a three-node cluster stores and fetches files (ARGS="-- --help")
	$(CARGO) run --release --example smol_cluster $(ARGS)

test: ## all tests
	$(CARGO) test --profile $(PROFILE) --workspace

check: ## formatting, lints, docs, and each package by itself
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	for package in core store tls host smol tokio mio sim conformance; do \
		$(CARGO) check -q -p peerhold-$$package || exit 1; \
	done
	$(CARGO) check -q --manifest-path fuzz/Cargo.toml

fmt: ## format
	$(CARGO) fmt --all

doc: ## the documentation, opened
	$(CARGO) doc --workspace --no-deps --open

crash-states: ## every state in which a crash may leave a store (ARGS="--small --seed 7")
	$(CARGO) run --profile sim -p peerhold-sim --bin crash-states -- $(ARGS)

bench: ## all benches
	$(CARGO) bench -p peerhold-benches

abuse: ## what honest peers notice of abusers, on every driver
	$(CARGO) bench -p peerhold-benches --profile $(PROFILE) --bench abuse

# 20 fixed seeds, then fresh ones by the commit, until there were so many simulated
# hours, operations, crashes, and times that each fault has fired. A slow machine
# takes longer; one that does not come so far within the minutes fails.
SIM_FLOORS ?= 90,250000,10000,10
SIM_MINUTES ?= 10
SIM_START ?= $(shell git rev-parse HEAD 2>/dev/null || echo 1)
SIM = $(CARGO) run --profile sim -p peerhold-sim --features memo --
SIM_SEEDS = --fixed 20 --start $(SIM_START) --seeds 1000000

sim: ## the simulator's share of the gate (SIM_FLOORS=90,250000,10000,10)
	$(SIM) $(SIM_SEEDS) --floors $(SIM_FLOORS) --minutes $(SIM_MINUTES)

soak: ## a simulated month
	$(SIM) $(SIM_SEEDS) --floors 720,2000000,80000,100

# PROFILE=dev uses what the tests have built.
crash: ## a thousand processes killed, and power cuts where the machine allows them
	PEERHOLD_KILL_ROUNDS=1000 $(CARGO) test --profile $(PROFILE) -p peerhold-smol --test kill -- --nocapture
	PEERHOLD_POWER_CUTS=100 $(CARGO) test --profile $(PROFILE) -p peerhold-smol --test kill -- --ignored --nocapture power

mutants: ## every known bug is switched on, and found (ARGS="--only Debt --tell")
	$(CARGO) run --profile sim -p peerhold-sim --features bugs,memo --bin mutants -- $(ARGS)

fuzz: ## fuzz one target (T=frame SECONDS=30)
	fuzz/all.sh $(SECONDS) $(or $(T),frame)

coverage: ## how much of the decoders the tests run (needs llvm-tools)
	fuzz/coverage.sh

fuzz-all: ## fuzz every target, and list the executions (SECONDS=30)
	fuzz/all.sh $(SECONDS)

clean: ## remove what was built
	$(CARGO) clean
