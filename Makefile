# `make up` runs a cluster with an application in it, `make test` runs every test.
CARGO ?= cargo
# Release builds are laid out by a profile of a server at work, which `make profile` makes.
PROFILED = flags="$$(hack/profile.sh)" && RUSTFLAGS="$$flags" $(CARGO)
GANTRY := target/release/gantry
IMAGES := target/images

.PHONY: up server test bench profile build images tools clients check fmt lint docs

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
	$(PROFILED) run --release -p xtask -- bench --gantry $(GANTRY) $(if $(filter 0,$(shell id -u)),--node)

## profile: the profile of release builds anew, after changes of what every request runs through.
profile: tools
	hack/train.sh

build: tools
	$(PROFILED) build --release -p gantry

images: tools
	$(PROFILED) run --release -p xtask -- images --out $(IMAGES)

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
