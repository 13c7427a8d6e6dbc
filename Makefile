# Two commands: `make up` runs a cluster with the guestbook on it, `make test` runs every test.
CARGO ?= cargo
GANTRY := target/release/gantry
IMAGES := target/images

.PHONY: up down test bench build images tools check fmt lint docs

## up: a running single-node cluster with the guestbook; ends with its page.
up: build images
	hack/up.sh $(GANTRY) $(IMAGES)

## down: stops the cluster and removes everything it made.
down:
	$(GANTRY) reset --yes

## test: unit, property, API-level and end-to-end tests.
test: tools
	hack/test.sh

## bench: every budget of the design, measured on this machine.
bench: build
	$(CARGO) run --release -p xtask -- bench --gantry $(GANTRY)

build: tools
	$(CARGO) build --release -p gantry

images: tools
	$(CARGO) run --release -p xtask -- images --out $(IMAGES)

tools:
	hack/packages.sh

## check: what CI runs before the tests.
check: tools fmt lint docs

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
