# Two commands on a bare machine with Python and make: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Seconds that `make fuzz` spends on each target; what it learns stays in build/fuzz.
FUZZ_S ?= 600

.PHONY: run test check format messages bench fuzz faults clean

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

# Needed after a change of the .proto only. What this protoc makes, protobuf reads from 6.31 on.
messages:
	$(PYTHON) -m venv build/protoc
	build/protoc/bin/python -m pip install --quiet grpcio-tools==1.74.0
	cd registry/engine/etcd && ../../../build/protoc/bin/python -m grpc_tools.protoc \
	  --proto_path=. --python_out=. --pyi_out=. callboard_etcd.proto

bench: $(STAMP)
	$(BIN)/python -m bench

fuzz: $(STAMP)
	@for target in packet stream upstream; do \
	  mkdir -p build/fuzz/$$target; \
	  $(BIN)/python tests/fuzz/run.py $$target -max_total_time=$(FUZZ_S) -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ build/fuzz/$$target tests/fuzz/corpus/$$target || exit 1; \
	done

faults: $(STAMP)
	cd tests && ../$(BIN)/python -m faults --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),1) --rows '$(ROWS)'

clean:
	rm -rf $(VENV) build dist *.egg-info
