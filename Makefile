# Every CI job is a target here; .ci/run calls `make test`.
CARGO ?= cargo
# Every shell script there is.
SCRIPTS = .ci/run $(shell find . -name '*.sh' -not -path './target/*')
# Every text that a user meets, without the files that are generated.
TEXTS = $(shell git ls-files '*.md' 'docs/*.md' 'examples/*.yaml' 'charts/*' 'deploy/*' 'src/*.rs' 'plugin/*.rs' 'tests/demo/*.sh' | \
	grep -Ev 'crds/|_test|__snapshot__|testdata|\.(json|snap|lock|svg)$$|docs/(reference|values)\.md|deploy/(install|kustomize/base/operator)\.yaml|/tests/|/tests\.rs')
# With all packages and one set of features, so that nothing is compiled twice.
ALL = --locked --workspace --features fail-points
# The names of the tests in a folder, for cargo.
named = $(addprefix --test ,$(basename $(notdir $(wildcard $(1)/*.rs))))
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: test
# The integration tests wait more than they work: the lives take the time that they leave.
test: fmt lint clippy unit chart alerts control-plane ## Everything that a change must pass
	$(CARGO) test $(ALL) --no-run
	$(MAKE) --jobs=2 integration lives

.PHONY: fmt
fmt: ## Formatting
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy: ## Lints, warnings denied
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

.PHONY: doc
doc: ## Documentation of the code, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

.PHONY: docs
docs: ## The documents as a book in target/book, every link checked (builds mdBook into the cache, once)
	bash tests/book/build.sh

.PHONY: checkers
checkers: ## Build and install the programs of `lint` and `chart` into the cache, once
	bash tests/checkers/build.sh >/dev/null

.PHONY: lint
lint: checkers ## Lints of scripts, workflows, YAML and Dockerfile
	PATH="$$(bash tests/checkers/build.sh)/bin:$$PATH" && \
	shellcheck --external-sources $(SCRIPTS) && \
	actionlint -pyflakes= .github/workflows/*.yml && \
	zizmor --offline --quiet --persona=pedantic .github && \
	hadolint deploy/Dockerfile && \
	yamllint --strict .
	python3 tests/words/check.py --self-test
	python3 tests/words/check.py $(TEXTS)

.PHONY: chart
chart: checkers ## Unit tests of the chart; `integration` has those that need an API server
	"$$(bash tests/checkers/build.sh)/bin/helm-unittest" charts/hostup-operator

.PHONY: unit
unit: ## Unit and property tests, and those of the simulator and the benchmark
	$(CARGO) test $(ALL) --lib --bins
	$(CARGO) test $(ALL) $(call named,tests/hostup-sim/tests)

.PHONY: lives
lives: ## Twenty thousand lives of the whole operator in virtual time, and those that were bad once
	nice -n 10 $(CARGO) test $(ALL) --test lives

.PHONY: search
search: ## Every order of events around a purchase, as far as STATES goes (five million); prints what it finds
	$(if $(STATES),SEARCH_STATES=$(STATES)) $(CARGO) test --locked -p hostup-domain purchase::tests::search -- --nocapture

.PHONY: simulate
simulate: ## Lives of the whole operator in virtual time: SEED=n tells one, LIVES=n lives many
	$(CARGO) run --locked -p simulation $(if $(LIVES),--profile lives) -- $(if $(SEED),--seed $(SEED)) $(if $(LIVES),--lives $(LIVES))

.PHONY: fuzz
fuzz: ## Hostile bytes of HostUp, the API server and users, a minute for each target; SECONDS=600 takes longer (needs a C++ compiler)
	bash tests/fuzz/run.sh $(or $(SECONDS),60)

.PHONY: mutants
mutants: ## Break the code that decides about money, one expression at a time: do the tests see it? (needs cargo-mutants; hours)
	SEARCH_STATES=$(or $(STATES),100000) $(CARGO) mutants --workspace --output "$${CARGO_TARGET_DIR:-target}"

.PHONY: alerts
alerts: ## The alert rules against their tests, by promtool
	promtool=$$(bash tests/alerts/promtool.sh) && \
	"$$promtool" check rules charts/hostup-operator/files/alerts.yaml && \
	"$$promtool" test rules tests/alerts/alerts_test.yaml

.PHONY: control-plane
control-plane: ## Build etcd, API server, controller-manager and kubectl into the cache, once
	bash tests/control-plane/build.sh >/dev/null

.PHONY: integration
# The tests wait for the API server, which collects garbage rarely then.
integration: export GOGC := 400
integration: control-plane checkers ## The built binary against the real control plane and the simulator
	$(CARGO) test $(ALL) $(call named,tests/control-plane/tests)
	$(CARGO) test $(ALL) --test it -- --test-threads=8

.PHONY: test-ecosystem
test-ecosystem: node argocd helm3 oldest ## The long run: a real node, Flux, Argo CD, Helm 3, the oldest Kubernetes (about an hour at first)

.PHONY: node
node: control-plane ## The documents followed on a real node: Helm, kustomize, Flux (needs root)
	bash tests/ecosystem/node.sh

.PHONY: argocd
argocd: control-plane ## Waves, health and differences by Argo CD's own programs (needs git, curl and redis-server)
	$(CARGO) build --locked --release -p hostup-operator -p hostup-sim -p control-plane
	bash tests/ecosystem/argocd.sh

.PHONY: helm3
helm3: control-plane ## The chart's tests by Helm 3
	programs=$$(bash tests/ecosystem/build.sh helm3) && HOSTUP_TEST_HELM=$$programs/helm \
		$(CARGO) test $(ALL) --test it -- --test-threads=6 chart::

.PHONY: oldest
oldest: ## All tests of the built binary, on the oldest Kubernetes that is tested
	programs=$$(bash tests/ecosystem/build.sh oldest) && KUBEBUILDER_ASSETS=$$programs \
		$(CARGO) test $(ALL) --test it -- --test-threads=8

.PHONY: traces
traces: ## Generate tests/it/traces.txt, which the crash tests are held against, from the model of the search
	UPDATE_TRACES=1 $(CARGO) test --locked -p hostup-domain purchase::tests::search::traces

.PHONY: crds
crds: ## Generate crds/ from the types
	UPDATE_CRDS=1 $(CARGO) test $(ALL) --test it crds::

.PHONY: reference
reference: ## Generate docs/reference.md, docs/values.md and the chart's copy of its defaults
	UPDATE_REFERENCE=1 $(CARGO) test $(ALL) --test it reference::

.PHONY: argocd-tests
argocd-tests: control-plane ## Generate the tests in deploy/argocd from the behavior of the operator
	UPDATE_ARGOCD=1 $(CARGO) test $(ALL) --test it argocd_layout::the_objects

.PHONY: manifests
manifests: control-plane ## Render deploy/install.yaml and the kustomize base from the chart
	UPDATE_MANIFESTS=1 $(CARGO) test $(ALL) --test it kustomize::the_committed

.PHONY: image
image: ## The container image, without a Docker engine (needs buildah and musl-tools)
	bash deploy/image.sh

.PHONY: image-all
image-all: ## The image of amd64 and arm64, and both under one index (needs Python too)
	ARCHITECTURES="amd64 arm64" bash deploy/image.sh

.PHONY: release-check
release-check: control-plane ## The files of a release agree; with TAG=v1.2.3 also with the tag
	RELEASE_TAG="$${TAG:-}" $(CARGO) test $(ALL) --test it -- \
		release:: crds::the_committed kustomize::the_committed

.PHONY: release-files
release-files: ## What a release consists of, in target/release-files (needs cargo-cyclonedx too)
	bash deploy/release-files.sh

.PHONY: demo
demo: control-plane ## The first five minutes of a user in the terminal; ALL=1 shows everything, KEEP=1 leaves it running
	$(CARGO) build --locked --release -p hostup-operator -p hostup-sim -p control-plane
	bash tests/demo/run.sh

.PHONY: bench
bench: control-plane ## Measure the release binary beside a bare loop (half an hour); QUICK=1 takes seven minutes
	$(CARGO) build --locked --release -p hostup-operator
	$(CARGO) build --locked --release -p hostup-bench
	"$${CARGO_TARGET_DIR:-target}/release/hostup-bench" $(if $(QUICK),--quick) \
		--operator "$${CARGO_TARGET_DIR:-target}/release/hostup-operator" --out "$${CARGO_TARGET_DIR:-target}/bench.md"

.PHONY: deny
deny: ## Licences, bans and sources of dependencies
	cargo deny check bans licenses sources
