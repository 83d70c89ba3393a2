# The commands of this repository. Each target is one readable line; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

quickstart: ## install, build, start the cloud, boot a guest, show its console
	@scripts/quickstart.sh

quickstart-down: ## stop and remove everything that quickstart made
	@scripts/quickstart-down.sh

dist: ## the release directory: agent, collection, SHA256SUMS (SF_BINARY=… takes an agent that is built already)
	@scripts/dist.sh

test: ## everything that can run here: lint, unit, store, daemon, kernel, hypervisor, system, conformance, modules, examples, role
	@scripts/test.sh lint rust 'role-static&' conformance system kill quickstart modules examples role

test-rust: ## unit, store, daemon, kernel and hypervisor tests
	@scripts/test.sh rust

test-system: ## life, outage and restart of a whole standalone cloud
	@scripts/test.sh system

test-kill: ## the agent is killed at 50 random moments while instances come and go
	@scripts/test.sh kill

test-nodes: ## three complete nodes on one machine: carrier, two hypervisors, guests that reach each other
	@scripts/test.sh nodes

test-conformance: ## the released client against a running cloud
	@scripts/test.sh conformance

test-quickstart: ## quickstart and quickstart-down leave nothing behind
	@scripts/test.sh quickstart

test-modules: ## the Ansible modules in real playbooks against a running cloud
	@scripts/test.sh modules

test-examples: ## the examples that need no host: Apache in front of two nodes, the pipeline, the authority
	@scripts/test.sh examples

test-role-static: ## the collection without a host: style, declarations, archive, what it renders
	@scripts/test.sh role-static

test-role: ## the collection on a bare host: a guest boots, a second run changes nothing, nothing is left
	@scripts/test.sh role

test-trixie: ## the same on Debian 13
	@scripts/test.sh trixie

test-oldest: ## the same with the oldest Ansible that the collection works with
	@scripts/test.sh oldest

test-cluster: ## three hosts, two gateways, guests that answer each other, a gateway that is killed
	@scripts/test.sh cluster

test-check: ## check mode on a fresh and on a deployed host; no secret in any output
	@scripts/test.sh check

test-preflight: ## one broken precondition after another, each refused by its own check
	@scripts/test.sh preflight

test-drain: ## a node goes away behind HAProxy and nginx without a lost request
	@scripts/test.sh drain

test-fresh: ## quickstart inside a fresh Debian 12 root
	@scripts/test-fresh.sh

bench: ## the figures of the benchmark programs, as a table and as JSON
	@scripts/bench.sh

lint: ## formatting, clippy, floors, sizes, duplicates, licences
	@scripts/test.sh lint

.PHONY: help quickstart quickstart-down dist test test-rust test-system test-kill test-nodes test-conformance test-quickstart test-modules test-examples test-role-static test-role test-trixie test-oldest test-cluster test-check test-preflight test-drain test-fresh bench lint
