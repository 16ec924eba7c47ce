# The targets are the interface for people; CI calls the same ones.
SHELL   := /bin/bash
GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# -trimpath: no path of the building machine in the binaries.
GOBUILD  = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: help build demo test race lint sim explore interop interop-doc vm soak reloads thousands systemd fuzz bench bench-peers install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/vrrpd and bin/atropos
	$(GOBUILD) -o bin/vrrpd ./cmd/vrrpd
	$(GOBUILD) -o bin/atropos ./cmd/atropos

demo: build ## two routers, two LANs, a client: watch them change sides (root)
	$(GO) run ./internal/demo -vrrpd bin/vrrpd -atropos bin/atropos

# Four kinds of tests, one after the other. Those that only compute share the
# processors. Most of those in network namespaces wait nearly all of their time, and
# stand side by side, however many processors there are. Those that hold the lock that all
# namespaces of a machine share for seconds, because they make and change a thousand
# things, are a bother to each other only. Those that judge milliseconds have the machine
# for themselves.
COMPUTE = ./cmd/... ./config ./control ./election ./internal/interleave ./internal/rundir ./internal/sim ./internal/vm/... ./vrrp
LOCKING = ./lease ./vmacif ./internal/netlab
ALONE   = ./daemon ./internal/acceptance

test: ## every test; those in network namespaces too when root
	@[ "$$(id -u)" = 0 ] || echo "make test: not root: EVERY TEST IN NETWORK NAMESPACES IS SKIPPED; run it as root to have them too" >&2
	$(GO) test $(COMPUTE)
	$(GO) test -p 4 $$($(GO) list ./... | grep -vxF "$$($(GO) list $(COMPUTE) $(LOCKING) $(ALONE))")
	$(GO) test -p 3 $(LOCKING)
	$(GO) test -p 1 $(ALONE)

race: ## every test under the race detector
	$(GO) test -race ./...

lint: ## gofmt, go vet, staticcheck, and the rules of this house
	@fmt=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	  if [ -n "$$fmt" ]; then echo "not gofmt-clean:"; echo "$$fmt"; exit 1; fi
	@! git grep -nE '^(<{7}|>{7}) ' || { echo "a merge that was not finished"; exit 1; }
	$(GO) vet ./...
	$(GO) build -modfile=tools/go.mod -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...

SEEDS ?= 20000
sim: ## SEEDS random scenarios through the election (a failing one prints itself)
	$(GO) test ./internal/sim -count=1 -run TestRandom -seeds=$(SEEDS) -timeout 0 -v

DEPTH ?= 2
explore: ## every sequence of DEPTH faults in small worlds, every order of a machine's processes (an hour; tests do less)
	$(GO) test ./internal/sim -count=1 -run 'TestExplore$$' -depth $(DEPTH) -full -timeout 0 -v
	$(GO) test ./grouplock -count=1 -run 'TestCrew' -orders -timeout 0 -v

interop: ## keepalived and FRR in both roles (root, keepalived, frr)
	INTEROP_REQUIRED=1 $(GO) test -p 1 ./internal/interop -count=1 -v -every

interop-doc: ## the same at leisure, and docs/interop.md from the results (five minutes)
	INTEROP_REQUIRED=1 $(GO) test -p 1 ./internal/interop -count=1 -v -parallel 4 -skip TestDocument -write-doc

vm: ## VLAN and bond parents on a kernel that has them (qemu-system-x86; two minutes)
	$(GO) run ./internal/vm

SOAK ?= 10m
soak: ## faults at random on two machines with a client, for SOAK (root)
	NETLAB_REQUIRED=1 $(GO) test ./internal/acceptance -count=1 -run 'TestSoak$$' -soak=$(SOAK) -timeout 0 -v

RELOADS ?= 1000
reloads: ## RELOADS reloads at 100 ms adverts on two machines: nobody moves (root)
	NETLAB_REQUIRED=1 $(GO) test ./internal/acceptance -count=1 -run TestReloadMovesNobody -reloads=$(RELOADS) -timeout 0 -v

THOUSANDS ?= 4000
thousands: ## THOUSANDS virtual routers in one process: start, reload, hand-over, stop (root)
	NETLAB_REQUIRED=1 $(GO) test ./internal/acceptance -count=1 -run 'TestThousands$$' -thousands=$(THOUSANDS) -timeout 10m -v

systemd: ## the shipped unit under a real systemd in containers (root, debootstrap, systemd-container)
	VRRPD_SYSTEMD=1 VRRPD_SYSTEMD_REQUIRED=1 $(GO) test ./internal/systemdtest -count=1 -v

FUZZTIME ?= 30s
fuzz: ## every fuzzer for FUZZTIME each
	@set -e; for f in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$f); do \
	    $(GO) test ./$$(dirname $$f) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; done; done

man: ## docs/vrrpd.toml.5 of the table of keys
	$(GO) run ./internal/manpage > docs/vrrpd.toml.5

# The rooms of the product; what measures the laboratory is not of them. What is kept as
# bin/bench-base.txt, the next run is compared with.
ROOMS = $(shell $(GO) list ./... | grep -v /internal/)
COUNT ?= 6
BASE  ?= bin/bench-base.txt
bench: ## benchmarks of the rooms, beside those kept in BASE (bin/bench-base.txt)
	@mkdir -p bin
	$(GO) build -modfile=tools/go.mod -o bin/benchstat golang.org/x/perf/cmd/benchstat
	set -o pipefail; $(GO) test -p 1 -run '^$$' -bench . -benchmem -benchtime 0.2s -count $(COUNT) $(ROOMS) | tee bin/bench.txt
	bin/benchstat $(wildcard $(BASE)) bin/bench.txt

BENCH ?=
bench-peers: build ## vrrpd beside keepalived and FRR: docs/benchmarks.md, docs/outages.svg (root, apt; 20 minutes, BENCH=-short: 5)
	internal/bench/install.sh
	$(GO) run ./internal/bench -vrrpd bin/vrrpd $(BENCH)

# What is for some machines only is documentation: each file says what it is for and
# where to put it.
EXAMPLES = sandbox.conf own-user.conf vrrpd.sysusers.conf example.conf

install: build ## into PREFIX (/usr/local), with man pages, the unit and its drop-ins as examples
	install -D -m 0755 bin/vrrpd $(DESTDIR)$(PREFIX)/sbin/vrrpd
	install -D -m 0755 bin/atropos $(DESTDIR)$(PREFIX)/bin/atropos
	install -D -m 0644 docs/vrrpd.8 $(DESTDIR)$(PREFIX)/share/man/man8/vrrpd.8
	install -D -m 0644 docs/atropos.8 $(DESTDIR)$(PREFIX)/share/man/man8/atropos.8
	install -D -m 0644 docs/vrrpd.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/vrrpd.toml.5
	install -D -m 0644 contrib/systemd/vrrpd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/vrrpd.service
	install -D -m 0644 contrib/systemd/vrrpd@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/vrrpd@.service
	install -d $(DESTDIR)$(PREFIX)/share/doc/vrrpd/systemd
	install -m 0644 $(addprefix contrib/systemd/,$(EXAMPLES)) $(DESTDIR)$(PREFIX)/share/doc/vrrpd/systemd
	install -d $(DESTDIR)$(PREFIX)/share/doc/vrrpd/prometheus
	install -m 0644 contrib/prometheus/README.md contrib/prometheus/vrrpd.rules.yml $(DESTDIR)$(PREFIX)/share/doc/vrrpd/prometheus

clean: ## what make built
	rm -rf bin dist
