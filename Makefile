# dnnsplit. `make help` lists the targets.

GO        ?= go
ORT_VER   := 1.30.0
ORT_DIR   := .ort
ORT_LIB   ?= $(CURDIR)/$(ORT_DIR)/libonnxruntime.so.1
TOOLS     := $(CURDIR)/.tools
MODELS    ?= testdata/models
PYTHON    ?= $(wildcard /usr/bin/python3)
GRAPHS    ?= testdata/graphs

# Versions of the tools that `make check` and `make generate` install into .tools/.
STATICCHECK_VER   := v0.8.2
GOLANGCI_VER      := v2.15.0
GOFUMPT_VER       := v0.12.0
PROTOC_GEN_GO_VER := v1.36.12

export ONNXRUNTIME_LIB := $(ORT_LIB)

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/dnnsplit
	$(GO) build -buildvcs=auto -o bin/dnnsplit ./compiler/cmd/dnnsplit

.PHONY: man
man: build ## write manual pages to bin/man/
	bin/dnnsplit man -o bin/man

.PHONY: test
test: $(ORT_LIB) ## run all tests; fetches ONNX Runtime into .ort/ first
	$(GO) vet ./...
	DNNSPLIT_REQUIRE_ORT=1 $(GO) test -timeout 14m ./...
	CGO_ENABLED=0 $(GO) build -o /dev/null ./compiler/cmd/dnnsplit

.PHONY: race
race: $(ORT_LIB) ## run all tests with the race detector; of long tables a share
	DNNSPLIT_REQUIRE_ORT=1 $(GO) test -race -timeout 40m ./...

# The official library inside the npm package; only that file is unpacked.
$(CURDIR)/$(ORT_DIR)/libonnxruntime.so.1:
	@command -v npm >/dev/null || { echo "make: npm is needed to fetch ONNX Runtime $(ORT_VER); install it, or set ORT_LIB=/path/to/libonnxruntime.so" >&2; exit 1; }
	@echo "make: fetching ONNX Runtime $(ORT_VER), the npm package onnxruntime-node: 290 MB, of which one library is kept in $(ORT_DIR)/"
	mkdir -p $(ORT_DIR)
	cd $(ORT_DIR) && npm pack --silent onnxruntime-node@$(ORT_VER) >/dev/null
	cd $(ORT_DIR) && tar -xzf onnxruntime-node-$(ORT_VER).tgz --strip-components=5 package/bin/napi-v6/linux/$(ORT_ARCH)/libonnxruntime.so.1
	rm $(ORT_DIR)/onnxruntime-node-$(ORT_VER).tgz
	@test -s $@ || { echo "make: ONNX Runtime could not be fetched" >&2; exit 1; }

ORT_ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)

.PHONY: ort
ort: $(ORT_LIB) ## fetch ONNX Runtime into .ort/ (an npm package of 290 MB, once)

.PHONY: lint
lint: $(TOOLS)/staticcheck $(TOOLS)/golangci-lint $(TOOLS)/gofumpt ## gofumpt, staticcheck, golangci-lint
	@out=$$(git ls-files '*.go' | grep -v '\.pb\.go$$' | xargs $(TOOLS)/gofumpt -l); test -z "$$out" || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/golangci-lint run

CROSS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: cross
cross: ## build static binaries without cgo for every system that is supported
	@for t in $(CROSS); do echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./compiler/cmd/dnnsplit || exit 1; done

.PHONY: check
check: lint race cross ## what a change must pass: lint, race, builds for other systems, tidy, generate, clean tree
	$(GO) mod tidy
	$(MAKE) generate
	git diff --exit-code

.PHONY: generate
generate: $(TOOLS)/protoc-gen-go ## regenerate bindings and testdata models (needs protoc)
	cd frontend/onnxpb && PATH=$(TOOLS):$$PATH protoc --go_out=. --go_opt=paths=source_relative onnx.proto
	$(GO) run ./frontend/onnxtest/gen -o testdata/models/squeezenet1_1.onnx squeezenet1_1

.PHONY: golden
golden: ## rewrite golden files from what the code does now
	$(GO) test ./compiler/... ./profiles/... -run 'Golden|Script' -update

.PHONY: corpus
corpus: build $(ORT_LIB) ## split and verify every model in MODELS=DIR; prints a table
	$(GO) run ./compiler/cmd/corpus -models $(MODELS) -devices profiles

.PHONY: bench-real
bench-real: $(ORT_LIB) ## hold predictions against what two cores really take: MODELS=DIR, ONLY=REGEX, WORK=DIR; goes on where it ended
	$(GO) build -o bin/benchreal ./compiler/cmd/benchreal
	bin/benchreal -models $(MODELS) -work $(or $(WORK),.bench-real) -only '$(ONLY)'

.PHONY: test-export
test-export: $(ORT_LIB) ## export every model in MODELS=DIR, run repository, annotated model and Node script; installs onnxruntime-node (290 MB) into .tools/node
	mkdir -p $(TOOLS)/node && cd $(TOOLS)/node && npm install --silent --no-audit --no-fund --ignore-scripts onnxruntime-node@$(ORT_VER)
	DNNSPLIT_REQUIRE_ORT=1 DNNSPLIT_EXPORT_MODELS=$(abspath $(MODELS)) DNNSPLIT_NODE_MODULES=$(TOOLS)/node/node_modules \
	  $(GO) test -count=1 -v -run "TestModels|TestNodeRunner|TestCatalog" ./backend/export

.PHONY: bench
bench: build ## splits beside copies of the same bytes (100 MB, 1 GB, 4 GB; takes 15 GB of disk), stage times to 50,000 nodes
	$(GO) run ./compiler/cmd/benchspeed -dnnsplit bin/dnnsplit -python "$(PYTHON)"

.PHONY: bench-placement
bench-placement: ## place every graph in GRAPHS=DIR in 1 s and in 5 s; prints a table against best known values, baselines and bounds
	$(GO) run ./passes/bench graphs $(GRAPHS)

OUT ?= bench-models

.PHONY: bench-models
bench-models: ## place known networks and synthetic graphs on 2 to 8 processors beside every baseline; tables, and figures in OUT
	$(GO) run ./compiler/cmd/benchmodels -devices profiles -out $(OUT)
	$(GO) run ./compiler/cmd/benchmodels -devices profiles -out $(OUT) -objective throughput

.PHONY: bench-scale
bench-scale: ## place synthetic graphs of 1,000 to 1,000,000 nodes on eight processors; prints time, memory and quality beside baselines
	$(GO) run ./passes/bench scale

.PHONY: properties
properties: ## hold 10,000 random placement problems against every rule, all plans and the from-scratch model (COUNT=10000; takes an hour)
	PROPERTY_COUNT=$(or $(COUNT),10000) $(GO) test -count=1 -timeout 4h -v -run 'Properties|Exhaustive|AgreesWithEvaluate|BoundsHold' ./passes ./passes/sched ./passes/bound

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 60s)
	@for f in $$(grep -rlE '^func Fuzz' --include=*_test.go . ); do \
	  for t in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$f | sed 's/func //'); do \
	    echo "== $$t ($$(dirname $$f))"; $(GO) test -run '^$$' -fuzz "^$$t$$" -fuzztime $(or $(FUZZTIME),60s) -fuzzminimizetime 20x $$(dirname $$f) || exit 1; \
	  done; done

$(TOOLS)/staticcheck:
	GOBIN=$(TOOLS) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VER)
$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VER)
$(TOOLS)/gofumpt:
	GOBIN=$(TOOLS) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT_VER)
$(TOOLS)/protoc-gen-go:
	GOBIN=$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VER)

TESTDATA ?= /usr/share/libonnx-testdata/data

.PHONY: conformance
conformance: $(ORT_LIB) ## cut ONNX's 1,072 conformance models everywhere and compare; installs libonnx-testdata
	@test -d $(TESTDATA) || apt-get install -y libonnx-testdata
	$(GO) run ./compiler/cmd/conformance -models $(TESTDATA)

.PHONY: shapes
shapes: $(ORT_LIB) ## compare inferred shapes with ONNX Runtime and onnx.shape_inference: MODELS=DIR, our networks, the conformance models
	@test -d $(TESTDATA) || apt-get install -y libonnx-testdata
	$(GO) run ./frontend/shape/shapecheck $(if $(PYTHON),-python $(PYTHON)) -catalog $(MODELS) $(TESTDATA)
