# What one types here. On Debian 12, `make demo` and `make test` work from a fresh clone: they
# install what is missing first.

# Where the installer of Rust puts cargo, before a new login finds it there.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO_RUN = cargo run --quiet --package testbed --bin

# All that has tests beside the program. Always the same packages: with others some crates get other features, and are compiled again.
TESTED = -p acme-dns-core -p acme-dns-service -p servers -p testbed
# The program by itself: its library would give our HTTP client features that the module's does not have.
PROGRAM = -p acme-dns-providers
# Programs of the testbed, compiled as for the tests.
RUN_TESTED = cargo test --quiet --no-run $(TESTED) --test e2e && $${CARGO_TARGET_DIR:-target}/debug/

# The module of an earlier commit, and how to build it.
EARLIER_MODULE = $(CURDIR)/target/earlier/release/libngx_http_acme_dns_module.so
define EARLIER
@rm -rf target/earlier/source && mkdir -p target/earlier/source
git archive $(1) | tar -x -C target/earlier/source
cargo build --release --features vendored --manifest-path target/earlier/source/Cargo.toml --target-dir target/earlier
endef

# What has to do with DNS: suites of the service, and names in those that are about more.
DNS_SUITES = acme_dns cloudflare doctor duckdns exec httpreq library powerdns propagation rfc2136 unreachable zones
DNS_TESTS = delegation:: rounds:: races:: checks:: methods:: persist:: providers:: doctor::

.DEFAULT_GOAL = help
# Linters of PyPI; the versions are in the list.
LINTERS = target/linters

.PHONY: help packages linters sbom providers doctor-doc log-doc program build compiled-tests demo recording live test matrix deb deb-test docker-test browser-test software-test bench bench-versions attack fleet fleet-faults soak watched year fuzz faults memcheck upgrade lint clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 13

packages: ## Installs the packages of tests/packages.txt and Rust, where they are missing
	@tests/install-packages

linters: packages $(LINTERS)/complete
$(LINTERS)/complete: tests/linters.txt
	/usr/bin/python3 -m venv --clear $(LINTERS)
	$(LINTERS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Needs `cargo install cargo-cyclonedx`. What is random in it, and the time, is left out: the same crates make the same file.
sbom: ## The lists of all crates in module and program, docker/sbom*.cdx.json, after Cargo.lock has changed
	docker/sbom

providers: ## The tables of DNS providers, docs/providers.md and the image's, after a type or a setting has changed
	cargo run --quiet -p acme-dns-core --example providers > target/providers.md
	cargo run --quiet -p acme-dns-core --example providers -- image > target/providers.txt
	mv target/providers.md docs/providers.md
	mv target/providers.txt docker/entrypoint/lib/providers.txt

doctor-doc: ## The table of the doctor's findings, docs/doctor.md, after a row has changed
	cargo run --quiet -p acme-dns-core --example doctor > target/doctor.md
	mv target/doctor.md docs/doctor.md

log-doc: ## The table of the lines of the log, docs/log.md, after an event has changed
	cargo run --quiet -p acme-dns-service --example log > target/log.md
	mv target/log.md docs/log.md

# The crate nginx-sys has cargo look at files that it makes itself: with the time at which they were made, they would count as
# changed, and the next command would build all of it once more.
build: packages ## Builds NGINX 1.28.3 and the module for it
	cargo build --release --features vendored
	@for made in $${CARGO_TARGET_DIR:-target}/release/build/nginx-sys-*/out/objs; do \
		test ! -d $$made || touch -r $$made/../../invoked.timestamp $$made/Makefile $$made/ngx_auto_config.h; \
	done

# It stands beside the module: target/providers/acme-dns-providers.
program: packages ## Builds the program for DNS providers of the library dns-update
	cargo build --profile providers -p acme-dns-providers

# With them the program for DNS providers, which they call: target/debug/acme-dns-providers.
compiled-tests: packages ## Compiles the tests, and runs none
	cargo test --no-run $(TESTED)
	cargo test --no-run $(PROGRAM)

demo: build ## NGINX obtains a wildcard certificate from servers on this machine; ONCE=1 only checks it
	@$(CARGO_RUN) demo

recording: build ## Draws docs/demo.svg, the picture of `make demo ONCE=1` in the README, after its output has changed
	@ONCE=1 tests/recording docs/demo.svg $(CARGO_RUN) demo

# For those who have a zone at Cloudflare. It says what it does before it begins. OTHER_TOKEN_FILE=FILE is a token of another zone;
# API=, DIRECTORY=, CA_FILE= and PROPAGATION= lead to other servers, OUT= is the directory for report and recording.
live: build ## The real Cloudflare and Let's Encrypt's staging: ZONE=example.com TOKEN_FILE=FILE
	@ZONE="$(ZONE)" TOKEN_FILE="$(TOKEN_FILE)" OTHER_TOKEN_FILE="$(OTHER_TOKEN_FILE)" API="$(API)" DIRECTORY="$(DIRECTORY)" \
		CA_FILE="$(CA_FILE)" PROPAGATION="$(PROPAGATION)" OUT="$(OUT)" $(CARGO_RUN) live

# NGINX_BINARY=... ACME_DNS_MODULE=... tests another build instead.
# Most tests wait for servers and for pauses, the end-to-end tests most of all, so that many run at once.
test: export RUST_TEST_THREADS ?= 8
# Five hosts with four orders each meet at one challenge name with TEST=dns, two without.
test: build compiled-tests ## All tests; TEST=name only those whose name contains it, TEST=dns all that has to do with DNS
ifeq ($(TEST),dns)
	cargo test $(PROGRAM)
	cargo test $(TESTED) $(addprefix --test ,$(DNS_SUITES))
	RACE_HOSTS=5 cargo test $(TESTED) --test obtain --test e2e -- $(DNS_TESTS)
else
	cargo test $(PROGRAM) -- $(TEST)
	cargo test $(TESTED) -- $(TEST)
endif

# From NGINX 1.29.2 on sessions are looked up after the server is chosen: the tests that run in a chroot are run there.
# MATRIX_PROFILE=quick compiles the module as CI does, without the optimizations that take long.
matrix: packages ## The module with each NGINX that is supported; FROM="vendored bookworm trixie sid" chooses
	@$(RUN_TESTED)matrix $(FROM)
	@$(if $(or $(if $(FROM),,all),$(filter sid,$(FROM))),NGINX_FROM=sid cargo test --quiet $(TESTED) --test e2e -- sessions::a_,)

deb: packages ## Debian packages in target/deb for each NGINX that is supported; FROM="vendored bookworm ..." chooses
	@$(CARGO_RUN) deb -- $(FROM)

# KEPT=1 takes the modules that `make matrix` has just built.
deb-test: packages ## The same, and installs, tries and removes each of them in a chroot
	@$(RUN_TESTED)deb --test $(if $(KEPT),--kept) $(FROM)

# With an engine of its own if none runs; DOCKER_BASES=official does not make base images. DOCKER_PROFILES="quick draft" compiles
# module and program as CI does, without the optimizations that take long.
docker-test: packages ## The image with a real Docker engine; TEST=name only those whose name contains it, QUICK=1 one of each kind
	@QUICK="$(QUICK)" tests/docker/run $(TEST)

# Chromium and Node.js are installed where they are missing; the picture is docs/status.png.
browser-test: ## The status page in a browser: accessibility, keyboard, wide and narrow, light and dark; draws its picture
	@tests/browser/run docs/status.png

software-test: ## Postfix, Dovecot and PostgreSQL with exported certificates; installs them where they are missing
	@tests/software/run

# BENCH_JSON=file keeps the figures in a file; QUICK=1 only shows that each part works; SIZES="1000 100000" are the numbers of
# certificates of the part sni, and of one server in bench-versions, WORKERS=8 the number of workers of the parts scale and sni.
bench: build ## Measures what handshakes, swaps and issuance cost; PARTS="handshake swap" chooses, BENCH_JSON=file
	@$(if $(SIZES),BENCH_SIZES="$(SIZES)") $(if $(WORKERS),BENCH_WORKERS=$(WORKERS)) cargo run --quiet --release --package testbed --bin bench -- $(if $(QUICK),--quick) $(PARTS)

bench-versions: build ## Handshakes, start, reload, orders and swaps, next to those of an earlier commit; FROM=REV SIZES=100000
	$(call EARLIER,$(FROM))
	@$(if $(SIZES),BENCH_SIZES="$(SIZES)") ACME_DNS_EARLIER_MODULE=$(EARLIER_MODULE) \
		cargo run --quiet --release --package testbed --bin bench -- $(if $(QUICK),--quick) versions

# SECONDS=600 is how long each target runs; TARGETS="dns acme" chooses.
fuzz: packages ## Feeds the readers of what comes from outside with what nobody expects
	@tests/fuzz/run $(or $(SECONDS),60) $(TARGETS)

# `make test` has one error for each call.
faults: packages ## Every operation on files, with every error of every system call
	STORE_FAULTS=all cargo test -p acme-dns-service --test store -- --nocapture every_operation

memcheck: packages ## NGINX with the module under valgrind: no invalid access, no leak at a reload
	@$(CARGO_RUN) memcheck

# `make test` has three hosts with five certificates. DISKS=DIR has the hosts' state paths: all are on one disk otherwise.
# ENGINE=redis has a Redis in the place of etcd.
fleet: packages ## Hosts with one set of certificates, on an etcd of three members; HOSTS=20 CERTIFICATES=50
	FLEET_HOSTS=$(or $(HOSTS),20) FLEET_CERTIFICATES=$(or $(CERTIFICATES),50) FLEET_DISKS=$(DISKS) FLEET_ENGINE=$(ENGINE) \
		cargo test --profile quick $(TESTED) --test obtain -- fleet::figures::each --nocapture

# `make test` has one step for each fault.
fleet-faults: build ## What may go wrong where several hosts share certificates, at each step of an order; FAULT=Full is one of them
	FLEET_FAULTS=$(or $(FAULT),all) cargo test -p testbed --test e2e -- fleet::faults --nocapture

# Those that have to win a race take SECONDS each.
attack: build ## What the user of the workers can try against NGINX, longer than in `make test`; SECONDS=60
	ATTACK_SECONDS=$(or $(SECONDS),60) cargo test -p testbed --test e2e -- attacks:: --nocapture

# NAMES=2000 has one server for so many names instead, with certificates of ten minutes and a watched file of which a hundred
# lines change in a minute.
soak: build ## Many short-lived certificates under random faults; MINUTES=30 SEED=n NAMES=2000
	@MINUTES="$(MINUTES)" SEED="$(SEED)" NAMES="$(NAMES)" $(CARGO_RUN) soak

watched: build ## Handshakes for all names while the lines of a watched domains file change, for some minutes
	cargo test -p testbed --test e2e -- watched:: --ignored --nocapture

year: packages ## A simulated year of 100,000 certificates, with a revocation of all; plotted
	cargo test --profile quick -p acme-dns-core --lib -- year:: --ignored --nocapture

# FROM=REV is a commit whose state path had another owner.
upgrade: build ## A state path under the module of an earlier commit, under this one, and back; FROM=a5967a6
	$(call EARLIER,$(or $(FROM),a5967a6))
	ACME_DNS_EARLIER_MODULE=$(EARLIER_MODULE) \
		cargo test -p testbed --test e2e -- upgrade:: --ignored

# Clippy and rustdoc in release, because NGINX would be built once more in debug. The fuzz targets are a package of their own, which
# nothing else compiles.
lint: linters ## Formatting, clippy, documents, shellcheck, hadolint, and the licences, sources and advisories of the dependencies
	cargo fmt --all --check
	tests/documents
	tests/import-circles
	tests/summaries
	cargo clippy --release --workspace --all-targets --features vendored,testbed/docker -- -D warnings
	cargo check --release --locked --bins --manifest-path tests/fuzz/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}
	RUSTDOCFLAGS="-D warnings" cargo doc --release --quiet --no-deps --workspace --document-private-items --features vendored
	shellcheck docker/entrypoint/*.sh docker/entrypoint/lib/*.sh docker/check docker/healthcheck docker/renew docker/licenses docker/nginx-source docker/sbom \
		docker/deb/build docker/deb/providers docker/deb/*.postinst tests/install-packages tests/manifests tests/summaries tests/browser/run tests/software/run tests/docker/run tests/docker/bases/make \
		tests/docker/bases/nginx/*.sh src/service/dns/exec/adaptor.sh
	$(LINTERS)/bin/hadolint docker/Dockerfile tests/docker/bases/nginx/Dockerfile
	docker/sbom check
	tests/manifests $(LINTERS)/bin/kubernetes-validate
	cargo deny --log-level error check licenses bans sources
	@if cargo deny --log-level off fetch db; then \
		cargo deny check advisories; \
	else \
		echo "advisories: NOT CHECKED, their database cannot be fetched"; \
	fi

clean: ## Removes all that was built or downloaded
	cargo clean
