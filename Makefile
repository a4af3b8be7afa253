# make setup: the environment (.venv)      make demo: train a built-in scene and look at it
# make test:  checks and the whole suite   make check: checks and the quick tests, three minutes

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint system-packages
SHELL := /bin/bash

VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready
DEMO   ?= lantern
OUT    ?= runs/demo
DEMO_SECONDS ?= 240

APT_INSTALL = apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends >/dev/null

help:
	@sed -n 's/^# //p' Makefile | head -2

setup: $(READY)

# The stamp is newer than pyproject.toml exactly when the environment holds what it asks for, so that a second
# `make setup` touches neither pip nor the network.
$(READY): pyproject.toml
	@if ! $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	    python=; \
	    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do \
	        $$candidate -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null || continue; \
	        python=$$candidate; $$python -c 'import venv, ensurepip' 2>/dev/null && break; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "Python 3.10 to 3.13 is needed and was not found. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2; \
	        exit 1; \
	    fi; \
	    if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	        if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	            echo "installing python3-venv"; \
	            $(APT_INSTALL) python3-venv; \
	        else \
	            echo "$$python lacks the venv module. Install it and try again: sudo apt-get install python3-venv" >&2; \
	            exit 1; \
	        fi; \
	    fi; \
	    echo "making $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "installing the packages that pyproject.toml asks for"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@if ! error=$$($(PYTHON) -c 'import taichi' 2>&1); then \
	    case "$$error" in *libX11*) ;; *) echo "$$error" >&2; exit 1;; esac; \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "installing libx11-6, which Taichi is linked with"; \
	        $(APT_INSTALL) libx11-6; \
	    else \
	        echo "Taichi needs libX11, with or without a screen: sudo apt-get install libx11-6" >&2; \
	        exit 1; \
	    fi; \
	fi
	@touch $@

# With prefixes, and four minutes for them, so that both ends of the slider are good to look at (docs/slimming.md).
demo: $(READY)
	@view=; reason=$$($(PYTHON) -m viewer.desktop.display) && view=--view || echo "no window: $$reason"; \
	$(PYTHON) train.py $(DEMO) --preset quick --downscale 2 --max-seconds $(DEMO_SECONDS) --ranks prefix --out $(OUT) --overwrite $$view

lint: $(READY)
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

# Tests that train nothing, open no window and compile few kernels. (Checkpoints come from trainings: test_checks.)
QUICK_TESTS := $(addprefix tests/,test_docs.py test_imports.py scenes/files scenes/readers scenes/solids scenes/test_find.py \
    scenes/test_framing.py scenes/test_inspection.py $(addprefix taichi_rf/,core coding motion geometry kernels/test_rays.py \
    kernels/test_lenses.py) $(addprefix viewer/,overlay desktop app/test_settings.py app/test_catalogue.py))

check: $(READY) lint
	$(PYTHON) -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder $(QUICK_TESTS) --ignore tests/taichi_rf/coding/test_checks.py

# Two workers: most of the time goes into compiling kernels, which takes one core. A file's tests stay together, in order.
test: $(READY) system-packages lint
	$(PYTHON) -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder --durations 25

# What a window without a screen needs: a virtual display, software Vulkan, a hand on the mouse and a camera; and what
# the viewer in a browser needs: a browser and a hand on it.
DISPLAY_PACKAGES := xvfb xauth mesa-vulkan-drivers libvulkan1 xdotool imagemagick libx11-6 libxcursor1 libxi6 \
    libxinerama1 libxrandr2 libxrender1 libxext6 libx11-xcb1

system-packages:
	@missing=; \
	if command -v dpkg-query >/dev/null; then \
	    for package in $(DISPLAY_PACKAGES); do \
	        dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	    done; \
	else \
	    for command in Xvfb xdotool import; do command -v $$command >/dev/null || missing="$$missing $$command"; done; \
	fi; \
	command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null || \
	    missing="$$missing chromium chromium-driver"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing:$$missing"; \
	    $(APT_INSTALL) $$missing; \
	else \
	    echo "The viewer is tested on a virtual display and in a browser, which lack:$$missing" >&2; \
	    echo "On Debian or Ubuntu: sudo apt-get install --no-install-recommends$$missing" >&2; \
	    exit 1; \
	fi
