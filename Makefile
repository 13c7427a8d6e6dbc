# `make up` runs a cluster with an application in it, `make test` runs every test.
CARGO ?= cargo
GANTRY := target/release/gantry
IMAGES := target/images

.PHONY: up server test bench build images tools clients check fmt lint docs

## up: a cluster on this machine that runs the guestbook.
up: build images
	hack/up.sh

## server: a control plane on this machine, in the foreground.
server: build
	$(GANTRY) server

## test: unit, property, API-level and end-to-end tests.
test: tools clients
	hack/test.sh

## bench: every budget of the design, measured on this machine; what needs root, as root only.
bench: build images
	$(CARGO) run --release -p xtask -- bench --gantry $(GANTRY) $(if $(filter 0,$(shell id -u)),--node)

build: tools
	$(CARGO) build --release -p gantry

images: tools
	$(CARGO) run --release -p xtask -- images --out $(IMAGES)

tools:
	hack/packages.sh

clients: tools
	hack/clients.sh

## check: what CI runs before the tests.
check: tools fmt lint docs

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
