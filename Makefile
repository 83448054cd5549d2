# Each target sets up what it needs, once. `make help` lists them.
#
#   ROS_DISTRO=kilted make test    the other distribution as wheels (default: jazzy); a sourced one is used as it is
#   make test ARGS="-k geometry"   more arguments for pytest
#   make demo EXPERT=1             the scripted expert instead of the model
#   make demo PLAN=1               tasks of several steps through the planner

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup venv msgs build test lint bench demo train-tabletop clean distclean

ENV := . scripts/env.sh &&
ARGS ?=
# Test and demo nodes talk to nobody outside this machine unless told to.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export EXPERT PYTHON TORCH

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make the virtual environment and build both packages
	@scripts/setup.sh
	@scripts/build.sh

venv: ## make the virtual environment only, for a parent workspace that builds the packages itself
	@scripts/setup.sh

msgs: ## build the messages only
	@scripts/setup.sh
	@scripts/build.sh --messages

build: setup

test: setup ## run every test
	@$(ENV) scripts/test.sh $(ARGS)

lint: setup ## ruff, mypy and the import contracts
	@$(ENV) scripts/lint.sh

bench: setup ## run the benchmarks
	@$(ENV) scripts/bench.sh $(ARGS)

demo: setup ## drive the simulated arm and write out/ (EXPERT=1: by the scripted expert; PLAN=1: tasks of several steps)
	@$(ENV) python -m dream_vla_ros.nodes.demo.main $(if $(filter-out 0,$(EXPERT)),--expert) $(if $(filter-out 0,$(PLAN)),--plan) $(ARGS)

train-tabletop: setup ## train models/tabletop from nothing; goes on where it was stopped
	@$(ENV) python -m dream_vla_ros.training.tabletop $(ARGS)

clean: ## remove what was built
	rm -rf build build-* install install-* log out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

distclean: clean ## remove the virtual environments too
	rm -rf .venv .venv-* .setup.lock
