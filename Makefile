# Everything that a developer types. Go is all it takes; `make check` fetches its linters through the module proxy.

GO          ?= go
GOTESTFLAGS ?=
PACKAGES    ?= ./...
TOOL        := $(GO) tool -modfile=tools/go.mod
CHECKS      := check-format check-vet check-staticcheck check-fix check-tidy check-ladder

.DEFAULT_GOAL := help
.PHONY: help run build lambdas check-lambdas check-stack bootstrap synth deploy test-infra test bench bench-full check $(CHECKS) clean

help: ## what there is to make
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-18s %s\n' "$$name" "$$text"; done

run: ## back up, verify and restore an example on this machine
	$(GO) run ./cmd/lifeboat demo

build: ## bin/lifeboat, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/lifeboat ./cmd/lifeboat

lambdas: ## dist/<function>.zip for AWS Lambda (arm64), the same bytes each time
	$(GO) run ./cmd/lambdas -out dist

check-lambdas: ## whether two builds of the functions give the same bytes
	@one=$$(mktemp -d) && two=$$(mktemp -d) && trap 'rm -rf "$$one" "$$two"' EXIT && \
		$(GO) run ./cmd/lambdas -out "$$one" && GOCACHE="$$two/cache" $(GO) run ./cmd/lambdas -out "$$two/dist" >/dev/null && \
		diff -r "$$one" "$$two/dist" && echo 'the same bytes'

# The stack is a module of its own in infra/; it needs Node.js, which CDK runs on: 22 is what it is tried with. Versions are pinned.
NODE          ?= $(or $(JSII_NODE),node)
CDK           := NODE_NO_WARNINGS=1 CDK_DISABLE_VERSION_CHECK=1 CDK_DISABLE_CLI_TELEMETRY=true npx --yes aws-cdk@2.1148.1
ASL_VALIDATOR := npx --yes asl-validator@4.0.0
STACK_CONFIG   = $(abspath $(or $(LIFEBOAT_CONFIG),lifeboat.yaml))

check-stack: ## whether lifeboat.yaml (LIFEBOAT_CONFIG) can be deployed, and Node.js will do; builds nothing
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/lifeboat ./cmd/lifeboat
	@bin/lifeboat --config "$(STACK_CONFIG)" deploy --print --json >/dev/null 2>&1 || bin/lifeboat --config "$(STACK_CONFIG)" deploy --print >/dev/null
	@version=$$($(NODE) -p 'process.versions.node.split(".")[0]' 2>/dev/null) || \
		{ echo 'CDK needs Node.js, and there is no node: install Node.js 22, or name its program in JSII_NODE' >&2; exit 2; }; \
	if [ "$$version" -lt 20 ]; then echo "CDK does not run on Node.js $$version any more: install Node.js 22" >&2; exit 2; fi; \
	if [ "$$version" -lt 22 ]; then echo "Node.js $$version will do, with a warning of CDK; 22 is recommended" >&2; fi

bootstrap: synth ## once per account and Region: what CDK needs there
	$(CDK) bootstrap --app infra/cdk.out

synth: check-stack ## infra/cdk.out: the CloudFormation template of lifeboat.yaml; no network, no credentials
	@$(MAKE) --no-print-directory lambdas
	rm -rf infra/cdk.out
	LIFEBOAT_CONFIG="$(STACK_CONFIG)" $(GO) -C infra run .
	@echo "infra/cdk.out has the template. Next: make bootstrap, once per account and Region; then make deploy"

deploy: synth ## the stack, into the account and Region of your AWS credentials; docs/runbook.md
	$(CDK) deploy --app infra/cdk.out --require-approval broadening --no-notices
	@echo "The stack is deployed. Next: confirm the mails of SNS and SES, then make the half-hour check of docs/runbook.md"

test-infra: ## what the stack promises, and the workflows' definitions
	$(GO) -C infra mod tidy -diff
	$(GO) -C infra vet ./...
	cd infra && $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...
	$(GO) -C infra test $(GOTESTFLAGS) ./...
	$(ASL_VALIDATOR) --json-path workflow/backup.asl.json --json-path workflow/restore.asl.json

test: ## all tests, every sweep on the embedded server; GOTESTFLAGS="-race -short -shuffle=on" as CI has it first
	$(GO) test $(GOTESTFLAGS) $(PACKAGES)

bench: ## goals on a modelled store: five minutes, 8 GB of memory; BENCHFLAGS="-only i,iv" for some
	$(GO) run ./cmd/bench $(BENCHFLAGS)

bench-full: ## the embedded server and peers (node, rclone, restic), too: half an hour, 40 GB of disk
	$(GO) run ./cmd/bench -full $(BENCHFLAGS)

check: $(CHECKS) ## format, vet, staticcheck, go fix, go.mod and the layers

check-format: ## what gofumpt would write differently
	@files="$$($(TOOL) gofumpt -l .)" && if [ -n "$$files" ]; then \
		printf 'not formatted (go tool -modfile=tools/go.mod gofumpt -w):\n%s\n' "$$files" >&2; exit 1; fi

check-vet: ## go vet
	$(GO) vet ./...

check-staticcheck: ## staticcheck, with package comments
	$(TOOL) staticcheck ./...

check-fix: ## what go fix would modernize
	$(GO) fix -diff ./...

check-tidy: ## whether go.mod and go.sum are what the code needs
	$(GO) mod tidy -diff
	$(GO) -C tools mod tidy -diff

check-ladder: ## whether imports keep to the layers
	$(GO) test ./internal/ladder

clean: ## what the other targets made; no vault
	rm -rf bin dist infra/cdk.out
