# `make demo` and `make test` are all a newcomer needs; they install what is missing and say what.

XRAY_VERSION := v1.260327.0
XRAY := $(HOME)/.cache/vpnkit/xray-$(XRAY_VERSION)/xray
export VPNKIT_XRAY_BIN ?= $(XRAY)

SING_BOX_VERSION := v1.14.1
SING_BOX := $(HOME)/.cache/vpnkit/sing-box-$(SING_BOX_VERSION)/sing-box
export VPNKIT_SING_BOX_BIN ?= $(SING_BOX)

export VPNKIT_REPOSITORY := $(CURDIR)
PYTHON := $(CURDIR)/target/venv/bin/python

.PHONY: help demo test forget-left-out soak test-rust test-python test-node lint bench compat generate deps xray sing-box judges chromium python node docs clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: deps xray ## a key, a real client, a limit that bites
	cargo build --locked -p vpnkit-examples
	cargo run --locked -q -p vpnkit-examples --bin demo

test: forget-left-out lint compat test-rust test-python test-node ## every test, against a real Xray; lists what needs root and was left out
	@scripts/left_out.sh

forget-left-out:
	@rm -f target/left-out.txt

soak: deps xray sing-box judges python node ## what takes longer: fuzzing, and the Rust suites ten times, four of them beside a busy machine
	VPNKIT_FUZZ_SECONDS=120 cargo test --locked -p vpnkit-tests --test fuzz -- --nocapture
	scripts/soak.sh

test-rust: deps xray sing-box judges python node ## the Rust crates, and the quickstarts of all three languages
	cargo test --locked --workspace --exclude vpnkit-py --exclude vpnkit-node --all-features

test-python: python xray ## the wheel, in a virtual environment of its own
	cd vpnkit-py && $(PYTHON) -m pytest -q
	cd vpnkit-py && $(PYTHON) -m mypy --strict python/vpnkit tests ../examples/python ../examples/shop
	cd vpnkit-py && $(PYTHON) -m pyright -p . --pythonpath $(PYTHON) python ../examples/python ../examples/shop
	cd target && $(PYTHON) -m mypy.stubtest vpnkit._native

test-node: node xray chromium ## the packed package, installed beside its tests
	cd target/npm && npx tsc --project test/tsconfig.json && npx tsc --project shop/tsconfig.json
	cd target/npm && node --test --test-timeout=300000 test/*.test.mjs

python: deps ## the wheel: target/dist/*.whl
	scripts/python.sh

node: deps ## the npm package: target/dist/*.tgz
	scripts/node.sh

generate: ## the described surface: vpnkit-bindings/surface
	cargo run --locked -q -p vpnkit-bindings --bin generate

docs: python ## the reference of all three languages: target/doc, target/docs
	scripts/docs.sh

lint: ## formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --exclude vpnkit-node --all-targets --all-features -- -D warnings
	cargo clippy --locked -p vpnkit-node -- -D warnings
	cargo clippy --locked -p vpnkit --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace

compat: deps ## both ends of the rusqlite range, and an application that uses sqlx
	scripts/compat.sh

bench: deps xray python node ## the table of the README
	cargo run --locked --release -p vpnkit-benches

deps: ## Debian packages
	@scripts/deps.sh

xray: $(XRAY) ## the pinned Xray, from its Go module

$(XRAY):
	@echo "installing Xray $(XRAY_VERSION) (Go module github.com/xtls/xray-core) as $@"
	@mkdir -p $(dir $@)
	@GOBIN=$(dir $@)build CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" github.com/xtls/xray-core/main@$(XRAY_VERSION)
	@mv $(dir $@)build/main $@ && rmdir $(dir $@)build

sing-box: $(SING_BOX) ## the pinned sing-box, from its Go module: for tests

$(SING_BOX):
	@echo "installing sing-box $(SING_BOX_VERSION) (Go module github.com/sagernet/sing-box) as $@"
	@mkdir -p $(dir $@)
	@GOBIN=$(dir $@)build CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" -tags with_utls,with_quic github.com/sagernet/sing-box/cmd/sing-box@$(SING_BOX_VERSION)
	@mv $(dir $@)build/sing-box $@ && rmdir $(dir $@)build

chromium: ## a browser and fonts for the page of subscriptions: for tests
	@command -v chromium >/dev/null || { echo "installing Debian packages: chromium fonts-noto-core fonts-noto-cjk"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  chromium fonts-noto-core fonts-noto-cjk >/dev/null; }

judges: deps ## what judges subscriptions in tests: target/judges
	scripts/judges.sh

clean: ## what was built here; not the Xray
	cargo clean
