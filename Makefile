# TriMQ. `make` builds into bin/, `make demo` shows it at work, `make test` passes all tests.
SHELL   := /bin/bash
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/trimq/trimq/shmqueue/tier.Version=$(VERSION) -X github.com/trimq/trimq/shmqueue/tier.Commit=$(COMMIT) \
           -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD   := CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)'
# The race detector needs a C compiler; without one the tests run without it, and say so.
RACE    := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race)
HISTORIES ?= 10000
FUZZTIME  ?= 10s
POINTSTIME ?= 15s
CUTS ?= 10
SOAK ?= 1h

DAEMONS  := connsrv logicsrv persistsrv
SAMPLES  := $(notdir $(wildcard clients/samples/mq_*))
PROGRAMS := $(DAEMONS:%=bin/%) bin/mq_server bin/trimq bin/mq_perf $(SAMPLES:%=bin/%)

.NOTPARALLEL:
.PHONY: all demo drill test unit faults sim e2e points drill-planted drill-points drill-power drill-power-vm soak lint bench bench-broker bench-kafka bench-amqp bench-scenarios bench-pauses fuzz config clean test-franz test-amqp091 kafka-clients amqp-clients FORCE

all: $(PROGRAMS)

$(DAEMONS:%=bin/%): bin/%: FORCE
	@$(BUILD) -o $@ ./$*
bin/mq_server: FORCE
	@$(BUILD) -o $@ ./scripts/server
bin/trimq: FORCE
	@$(BUILD) -o $@ ./clients/cli
bin/mq_perf: FORCE
	@$(BUILD) -o $@ ./clients/perf
$(SAMPLES:%=bin/%): bin/%: FORCE
	@$(BUILD) -o $@ ./clients/samples/$*
FORCE:

# A real corpus through the real daemons, two of which are killed on the way.
demo: all
	@$(GO) run ./scripts/demo

# A broker of its own, everything done to it that may happen to one, and what clients saw checked.
drill: all
	@bin/trimq drill $(DRILL)

test: all lint unit faults sim e2e points
	@echo "make test: all passed$(if $(RACE),, (no C compiler: the race detector was SKIPPED))"

lint:
	@echo "== vet and staticcheck"
	@test -z "$$(gofmt -l connsrv logicsrv persistsrv shmqueue protocol clients scripts)" || { gofmt -l .; echo "gofmt the files above"; exit 1; }
	@$(GO) vet ./...
	@$(GO) vet -tags failpoints ./...
	@$(GO) tool -modfile=scripts/tools/go.mod staticcheck ./...

# Everything but what starts the real daemons.
unit:
	@echo "== unit tests $(RACE)"
	@$(GO) run ./scripts/gotest $(RACE) -timeout 10m $$($(GO) list ./... | grep -v -e /scripts/e2e -e /logicsrv/sim)

# Tests that need the hooks which a release build does not contain.
faults:
	@echo "== tests with failpoints"
	@$(GO) run ./scripts/gotest -tags failpoints -timeout 10m ./shmqueue/... ./persistsrv/... ./logicsrv/shell/... ./logicsrv/core/... ./protocol/failpoint/...

# $(HISTORIES) simulated histories, and every planted mistake caught.
sim:
	@echo "== simulator: $(HISTORIES) histories"
	@TRIMQ_TEST_HISTORIES=$(HISTORIES) $(GO) run ./scripts/gotest -tags failpoints -timeout 30m ./logicsrv/sim/...

# Real daemons, real sockets, real kills.
e2e: all
	@echo "== end to end"
	@$(GO) run ./scripts/gotest -count=1 -timeout 25m ./scripts/e2e/...

# Daemons die at exact places, other ones every day: as many as fit into the time.
points: all
	@echo "== deaths at exact places"
	@$(GO) run ./scripts/points -time $(POINTSTIME)

# Brokers that break a rule on purpose: the drills' checker has to find out each of them.
drill-planted: all
	@TRIMQ_TEST_PLANTED=all $(GO) test -count=1 -timeout 30m -v -run TestPlantedViolations ./scripts/e2e

# Each daemon dies at each of its failpoints.
drill-points: all
	@$(GO) run ./scripts/points

# Power cuts under load, on a file system of its own; and a control, in which losses have to be found.
drill-power: all
	@$(GO) run ./scripts/power -cycles $(CUTS)
	@$(GO) run ./scripts/power -cycles $(CUTS) -fs xfs
	@$(GO) run ./scripts/power -break persist-no-sync

# The same in virtual machines whose disks lose what was not flushed. VM is the directory of powerloss.sh and
# its helpers; see scripts/power.
drill-power-vm: all
	@for mode in lose random keep; do $(GO) run ./scripts/power -vm '$(VM)' -cycles $(CUTS) -mode $$mode || exit 1; done
	@$(GO) run ./scripts/power -vm '$(VM)' -mode lose -break persist-no-sync

# Load with faults for a long time, in which nothing may grow.
soak: all
	@$(GO) run ./scripts/soak -time $(SOAK)

# franz-go's own tests of its Kafka client, against a broker of ours.
FRANZ_RECORDS ?= 20000
FRANZ_RUN     ?= .
FRANZ_SKIP    ?=
test-franz: all
	@$(GO) run ./scripts/franz -records $(FRANZ_RECORDS) -run '$(FRANZ_RUN)' -skip '$(FRANZ_SKIP)'

# The tests of RabbitMQ's Go client, against a broker of ours.
AMQP091_SKIP ?=
test-amqp091: all
	@$(GO) run ./scripts/amqp091 -skip '$(AMQP091_SKIP)'

# Kafka clients of other languages, with which e2e tests the front end; without them it skips those tests.
kafka-clients:
	@python3 -m venv bin/kafka-clients
	@bin/kafka-clients/bin/pip install --quiet --requirement scripts/e2e/testdata/kafka/requirements.txt
	@for f in java java3 tools; do \
	  mvn -q -B -f scripts/e2e/testdata/kafka/java/$$f.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/bin/kafka-clients/$$f || exit 1; done
	@cd scripts/e2e/testdata/kafka/sarama && $(GO) build -o $(CURDIR)/bin/kafka-clients/sarama .
	@command -v npm >/dev/null && npm install --silent --no-fund --no-audit --prefix bin/kafka-clients/node kafkajs@2.2.4 >/dev/null || echo "no npm: kafkajs is left out"
	@command -v kcat >/dev/null || echo "no kcat: the system's package manager has it"

# AMQP clients of other languages, likewise.
amqp-clients:
	@python3 -m venv bin/amqp-clients
	@bin/amqp-clients/bin/pip install --quiet --requirement scripts/e2e/testdata/amqp/requirements.txt
	@command -v mvn >/dev/null && mvn -q -B -f scripts/e2e/testdata/amqp/java/java.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/bin/amqp-clients/java \
	  || echo "no mvn: RabbitMQ's Java client is left out"

# Every claim about speed: rings, codecs, core, log.
bench:
	@$(GO) test -run '^$$' -bench . -benchmem ./shmqueue/... ./protocol/... ./logicsrv/core/... ./logicsrv/shell/... ./persistsrv/... ./connsrv/...

# The whole broker beside the machine's limits, turn by turn.
bench-broker: all
	@$(GO) run ./scripts/bench

# Apache Kafka and TriMQ over Kafka's protocol, turn by turn; see the script for what it needs.
bench-kafka: all
	@scripts/bench/kafka.sh

# RabbitMQ and TriMQ over AMQP 0-9-1, likewise.
bench-amqp: all
	@scripts/bench/amqp.sh

# Healthy subscribers and sick ones, many topics, backlogs: what went through, how late, at what cost.
bench-scenarios: all
	@$(GO) run ./scripts/scenarios

# What clients notice when a daemon dies, stops or is restarted.
bench-pauses: all
	@$(GO) run ./scripts/pauses

# Each fuzz test for FUZZTIME.
fuzz:
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep ^Fuzz); do \
	  echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

# The documented configuration file, from the settings in the code.
config:
	@$(GO) run ./scripts/config >docs/trimq.toml.tmp && mv docs/trimq.toml.tmp docs/trimq.toml

clean:
	@rm -rf bin
