# Two commands on a bare machine with Python and make: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check format bench clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

run: $(STAMP)
	@echo 'try, in another terminal:'
	@echo "  curl -X PUT localhost:8500/v1/services/web/instances/web-1 -d '{\"address\": \"10.0.0.5\", \"port\": 8080}'"
	@echo '  dig @127.0.0.1 -p 8600 web.service.callboard.internal'
	@echo '  $(BIN)/callboard services; open http://127.0.0.1:8500/docs'
	@exec $(BIN)/callboard serve

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist *.egg-info
