# make run   installs what is missing, builds everything, serves on 127.0.0.1:8080
# make test  installs what the tests need and runs them all
# make help  lists the rest

SHELL       := /bin/bash
DATA        ?= data
TEST_DIR    := $(CURDIR)/.test
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOLANGCI    := v2.15.0
STATICCHECK := v0.8.2

export GOFLAGS      += -buildvcs=false
# Where the Go on this machine is older than go.mod asks for, it fetches that.
export GOTOOLCHAIN  := auto
export PATH         := $(PATH):/usr/local/go/bin:$(HOME)/go/bin

# One static file: it runs on any kernel it supports, whatever libc is there.
# Extensions of SQLite and name services of libc would need dynamic loading.
TAGS    := osusergo,netgo,sqlite_omit_load_extension
LDFLAGS := -s -w -X main.version=$(VERSION) -linkmode external -extldflags "-static"

PAGE_SRC := $(shell find web/app -path web/app/node_modules -prune -o -type f -print 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run build page image runsc test test-go test-cgroup test-cgroup1 test-cgroup2 test-gvisor test-engine test-page test-e2e lint lint-all bench bench-collab bench-page bench-run soak pictures fuzz fuzz-yjs clean deps-build deps-run deps-test

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: deps-run build image ## install what is missing, build, and serve on 127.0.0.1:8080
	exec bin/corun serve --data-dir $(DATA)

build: deps-build web/dist/index.html ## make bin/corun, the only file a host needs
	go build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/corun ./cmd/corun

page: web/dist/index.html ## build the page into web/dist

web/dist/index.html: $(PAGE_SRC) web/app/node_modules/.package-lock.json
	cd web/app && npm run --silent build

web/app/node_modules/.package-lock.json: web/app/package-lock.json
	cd web/app && npm ci --no-audit --no-fund --loglevel=error
	touch $@

image: build ## build the default image into the data directory, once
	bin/corun image build --data-dir $(DATA)

runsc: bin/runsc bin/corun-guest ## build gVisor's runsc, for serve --isolation gvisor (some minutes)

bin/runsc: tools/runsc/go.mod tools/runsc/go.sum
	cd tools/runsc && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ gvisor.dev/gvisor/runsc

GUEST_SRC := $(addprefix runner/sandbox/,guest.c init.c init.h protocol.h)
bin/corun-guest: $(GUEST_SRC)
	mkdir -p bin
	$(CC) -O2 -Wall -Wextra -static -DCORUN_GUEST -o $@ $(filter %.c,$^)

test: deps-test lint test-go test-cgroup test-gvisor test-engine test-page test-e2e ## install what the tests need and run them all

test-go: $(TEST_DIR)/image.ok ## Go tests with the race detector
	CORUN_IMAGE_DIR=$(TEST_DIR)/images go test -race -timeout 20m ./...

test-cgroup: # both versions, where their machine can be had
	@if [ "$$(uname -m)" = x86_64 ] && command -v qemu-system-x86_64 >/dev/null; then $(MAKE) test-cgroup1 test-cgroup2; \
	else echo "test-cgroup is left out: it takes an amd64 machine with qemu-system-x86"; fi

test-cgroup1: $(TEST_DIR)/sandbox.test ## box tests with cgroup v1, in a virtual machine
	scripts/test-cgroup.sh 1 $< $(TEST_DIR)/cgroup

test-cgroup2: $(TEST_DIR)/sandbox.test ## box tests with cgroup v2, in a virtual machine
	scripts/test-cgroup.sh 2 $< $(TEST_DIR)/cgroup

.PHONY: $(TEST_DIR)/sandbox.test # Go knows what is up to date
$(TEST_DIR)/sandbox.test:
	go test -c -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./runner/sandbox

# Not from the cache: what is tested is not only Go's.
GVISOR_TESTS := TestGVisor|TestHello|TestLanguagesWork|TestTerminal|TestTerminalClosedForAMoment|TestOneProcess|TestStartFailures|TestOutputSurvivesKill|TestManyBoxes|TestMemoryLimit|TestMemoryBombs|TestNoSwap|TestAccounting|TestScratchIsBounded|TestProcessLimit|TestProcessCount|TestForkBomb|TestSpin|TestDaemon|TestQuota|TestWarm|TestWarmFails|TestWarmDies|TestWarmUsage|TestKilledLauncher|TestForeignCallsKill
test-gvisor: runsc $(TEST_DIR)/image.ok test/node_modules/.package-lock.json ## boxes and the abuse suite upon gVisor
	CORUN_RUNSC=$(CURDIR)/bin/runsc CORUN_IMAGE_DIR=$(TEST_DIR)/images go test -count=1 -run '^($(GVISOR_TESTS))$$' ./runner/sandbox
	CORUN_ISOLATION=gvisor CORUN_RUNSC=$(CURDIR)/bin/runsc CORUN_IMAGE_DIR=$(TEST_DIR)/images go test -count=1 ./test/abuse
	cd test && for t in live privilege; do \
		CORUN_ISOLATION=gvisor CORUN_BIN=$(CURDIR)/bin/corun CORUN_IMAGE_DIR=$(TEST_DIR)/images node --test e2e/$$t.test.mjs || exit 1; done

# The same histories every time, so that a failure is the change's; fuzz-yjs makes
# new ones.
test-engine: test/node_modules/.package-lock.json ## the document engine against yjs, in 3,000 random histories
	go build -o $(TEST_DIR)/peer ./test/peer
	cd test && node fuzz/fuzz.mjs --peer $(TEST_DIR)/peer --histories 1500 --seed 1 --out $(TEST_DIR)/histories
	cd test && node fuzz/cuts.mjs --peer $(TEST_DIR)/peer --histories 1500 --seed 1

test-page: web/app/node_modules/.package-lock.json ## types and unit tests of the page
	cd web/app && npm run --silent check && npm run --silent test

test-e2e: $(TEST_DIR)/image.ok test/node_modules/.package-lock.json ## stock Yjs clients and Chromium against the real binary
	cd test && for t in e2e/*.test.mjs; do \
		CHROMIUM=$$(command -v chromium chromium-browser google-chrome | head -n 1) \
		CORUN_BIN=$(CURDIR)/bin/corun CORUN_IMAGE_DIR=$(TEST_DIR)/images node --test $$t || exit 1; done

pictures: $(TEST_DIR)/image.ok test/node_modules/.package-lock.json ## take the pictures of README and docs anew
	cd test && CHROMIUM=$$(command -v chromium chromium-browser google-chrome | head -n 1) \
		CORUN_BIN=$(CURDIR)/bin/corun CORUN_IMAGE_DIR=$(TEST_DIR)/images node pictures.mjs

# SEED=n has the same kills again, as far as clocks allow.
soak: $(TEST_DIR)/image.ok test/node_modules/.package-lock.json ## hundreds of kills and full disks under typing clients and running programs; attacks, and what others feel of them; takes root
	cd test && for t in kill runs hostile; do \
		CORUN_SOAK=1 CORUN_BIN=$(CURDIR)/bin/corun CORUN_IMAGE_DIR=$(TEST_DIR)/images node --test --test-reporter=spec e2e/$$t.test.mjs || exit 1; done

test/node_modules/.package-lock.json: test/package-lock.json
	cd test && npm ci --no-audit --no-fund --loglevel=error
	touch $@

# The image that all tests share.
$(TEST_DIR)/image.ok: build
	mkdir -p $(TEST_DIR)
	bin/corun image build --image-dir $(TEST_DIR)/images
	touch $@

lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt these:"; echo "$$out"; exit 1; fi
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...

lint-all: ## golangci-lint too (slow to install the first time)
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI) run

FUZZTIME ?= 60s
fuzz: ## fuzz every decoder, FUZZTIME each
	for target in FuzzApplyUpdate FuzzUpdates FuzzSmallDecoders; do \
		go test -run '^$$' -fuzz ^$$target$$ -fuzztime $(FUZZTIME) ./collab/ycrdt || exit 1; done
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./collab/yproto
	go test -run '^$$' -fuzz FuzzReceive -fuzztime $(FUZZTIME) ./collab
	go test -run '^$$' -fuzz FuzzRow -fuzztime $(FUZZTIME) ./store
	go test -run '^$$' -fuzz FuzzOpen -fuzztime $(FUZZTIME) ./bundle
	go test -run '^$$' -fuzz FuzzLayer -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./runner/image

fuzz-yjs: test/node_modules/.package-lock.json ## the document engine against yjs, without end
	go build -o $(TEST_DIR)/peer ./test/peer
	cd test && node fuzz/fuzz.mjs --peer $(TEST_DIR)/peer --jobs $$(nproc) --out $(TEST_DIR)/histories

bench: $(TEST_DIR)/image.ok bench/engine/node_modules/.package-lock.json ## group commit, first output of a run; boxes beside other sandboxes; documents beside yjs and Yrs
	CORUN_IMAGE_DIR=$(TEST_DIR)/images go test -run '^$$' -bench . ./store ./runner/sandbox ./runner
	CORUN_IMAGE_DIR=$(TEST_DIR)/images go run ./bench/box
	go run ./bench/engine

bench-run: $(TEST_DIR)/image.ok ## what pressing Run costs, beside the same programs on the bare machine; takes root and half an hour
	CORUN_IMAGE_DIR=$(TEST_DIR)/images go run ./bench/run -own -saturate 10000

bench-collab: $(TEST_DIR)/image.ok bench/collab/node_modules/.package-lock.json ## the document server beside y-websocket, Hocuspocus and the least a server can do; takes two processors and 20 minutes
	CORUN_IMAGE_DIR=$(TEST_DIR)/images go run ./bench/collab -cache $(TEST_DIR)/collab

bench-page: $(TEST_DIR)/image.ok test/node_modules/.package-lock.json ## the page in Chromium: until it takes a key, typing beside five others, a flood of output; takes some minutes
	CHROMIUM=$$(command -v chromium chromium-browser google-chrome | head -n 1) \
	CORUN_BIN=$(CURDIR)/bin/corun CORUN_IMAGE_DIR=$(TEST_DIR)/images node bench/page/main.mjs

bench/engine/node_modules/.package-lock.json: bench/engine/package-lock.json
	cd bench/engine && npm ci --no-audit --no-fund --loglevel=error
	touch $@

# Compiles SQLite for Node.js where no binary of it can be fetched.
bench/collab/node_modules/.package-lock.json: bench/collab/package-lock.json
	cd bench/collab && npm ci --no-audit --no-fund --loglevel=error
	touch $@

clean: ## remove what was built, but no data
	rm -rf bin web/dist/assets web/dist/index.html web/app/node_modules test/node_modules bench/engine/node_modules bench/collab/node_modules $(TEST_DIR)

deps-build:
	@scripts/deps.sh build
deps-run:
	@scripts/deps.sh run
deps-test:
	@scripts/deps.sh test
