# `make demo` and `make test` are all a newcomer needs; they install what is missing and say what.

XRAY_VERSION := v1.260327.0
XRAY := $(HOME)/.cache/vpnkit/xray-$(XRAY_VERSION)/xray
export VPNKIT_XRAY_BIN ?= $(XRAY)

.PHONY: help demo test lint bench compat deps xray clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: deps xray ## a key, a real client, a limit that bites
	cargo build --locked -p vpnkit-examples
	cargo run --locked -q -p vpnkit-examples --bin demo

test: lint compat deps xray ## every test, against a real Xray; needs root for network namespaces
	cargo test --locked --workspace --all-features

lint: ## formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked -p vpnkit --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace

compat: deps ## both ends of the rusqlite range, and an application that uses sqlx
	scripts/compat.sh

bench: deps xray ## the table of the README
	cargo run --locked --release -p vpnkit-benches

deps: ## Debian packages
	@scripts/deps.sh

xray: $(XRAY) ## the pinned Xray, from its Go module

$(XRAY):
	@echo "installing Xray $(XRAY_VERSION) (Go module github.com/xtls/xray-core) as $@"
	@mkdir -p $(dir $@)
	@GOBIN=$(dir $@)build CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" github.com/xtls/xray-core/main@$(XRAY_VERSION)
	@mv $(dir $@)build/main $@ && rmdir $(dir $@)build

clean: ## what was built here; not the Xray
	cargo clean
