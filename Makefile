# `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo build test lint fmt bench

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/omnigraph
export CARGO_TARGET_DIR ?= $(CACHE)/target
# Tools that are on the machine win over the ones that `setup` puts beside the build.
export PATH := $(PATH):$(CACHE)/tools/bin
export OMNIGRAPH_CACHE := $(CACHE)
BENCH_ARGS ?= --data examples/debian/debian-small.ndjson

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10
	@echo
	@echo "builds go to $(CARGO_TARGET_DIR) (CARGO_TARGET_DIR)"

setup: ## install what build and tests need, or say what is missing
	scripts/setup all

# Selecting no package lets cargo choose features for the whole workspace, as the tests do: the
# dependencies are then built once.
build: ## build omnigraphctl
	scripts/setup build
	cargo build --locked --bin omnigraphctl

demo: build ## the shipped example, served from one process (DEMO_EXIT=1 ends by itself)
	scripts/demo "$(CARGO_TARGET_DIR)/debug/omnigraphctl"

test: lint ## everything that continuous integration runs
	scripts/test

lint: ## format, clippy, protobuf, licences; changes nothing
	scripts/setup all
	cargo fmt --all --check
	buf lint
	cargo deny --locked --log-level error check bans licenses sources
	cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format Rust and protobuf sources
	cargo fmt --all
	buf format -w

bench: ## measure a release build (BENCH_ARGS chooses cases)
	scripts/setup build
	cargo run --locked --release -p omnigraph-benches -- $(BENCH_ARGS)
