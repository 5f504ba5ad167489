# Every target makes the environment that it needs. PYTHON=/path/to/python chooses the interpreter.

DEVICE ?= $(PARALLAX_DEVICE)
ifneq ($(DEVICE),)
export PARALLAX_DEVICE := $(DEVICE)
endif
URL ?= $(if $(PARALLAX_PORT),http://127.0.0.1:$(PARALLAX_PORT))
SERVE_ROLE := $(if $(filter cuda,$(DEVICE)),serve-gpu,serve-cpu)

.PHONY: help serve test bench loadtest check format openapi readme chart lock train-env train mlflow-ui gpu-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: ## Serve models/store on http://127.0.0.1:8000 (DEVICE=cuda on a GPU, EXTRAS=parquet; every PARALLAX_* variable is honoured)
	@python=$$(scripts/env.sh $(SERVE_ROLE)) || exit; \
	if [ -z "$(DEVICE)" ] && nvidia-smi >/dev/null 2>&1; then echo "There is an NVIDIA GPU here: make serve DEVICE=cuda" >&2; fi; \
	exec "$$python" -m parallax serve

test: ## Run the tests (ARGS="tests/unit -k jpeg" for some of them)
	@python=$$(scripts/env.sh dev) && exec "$$python" -m pytest $(ARGS)

check: ## Check format, lint, types, the OpenAPI snapshot, the chart's schema and the locks
	@python=$$(scripts/env.sh dev) || exit; \
	"$$python" -m ruff format --check . && \
	"$$python" -m ruff check . && \
	"$$python" -m mypy && \
	"$$python" -m scripts.openapi --check && \
	"$$python" -m scripts.readme --check && \
	"$$python" -m scripts.chart --check && \
	scripts/locks.sh --check

format: ## Format the code and mend what the linter can mend by itself
	@python=$$(scripts/env.sh dev) || exit; \
	"$$python" -m ruff check --fix-only . && \
	"$$python" -m ruff format .

openapi: ## Write docs/openapi.json anew, after a change of the API
	@python=$$(scripts/env.sh dev) && exec "$$python" -m scripts.openapi

readme: ## Write the README's table of settings anew
	@python=$$(scripts/env.sh dev) && exec "$$python" -m scripts.readme

chart: ## Write the Helm chart's schema and its README's table anew
	@python=$$(scripts/env.sh dev) && exec "$$python" -m scripts.chart

bench: ## Compare with the in-process limit and a plain server (ARGS="scenario swap" for what happens in production; ARGS=--help)
	@python=$$(scripts/env.sh dev) && exec "$$python" -m loadtest.bench $(if $(ARGS),$(ARGS),speed)

loadtest: ## Load a running server: verdict, report and capacity (URL=http://..., ARGS="--rate 50", CAPACITY="--p99-ms 50"; ARGS=--help)
	@python=$$(scripts/env.sh loadtest) || exit; report=$${PARALLAX_DATA_DIR:-.parallax}/loadtest/report.html; \
	"$$python" -m parallax loadtest run $(URL) --report "$$report" $(ARGS); status=$$?; \
	case "$$status $(ARGS)" in 2\ *|130\ *|*--help*) exit $$status ;; esac; \
	"$$python" -m parallax loadtest capacity $(URL) $(CAPACITY) || { other=$$?; [ $$status -ne 0 ] || status=$$other; }; \
	exit $$status

lock: ## Bring requirements/*.txt up to date with pyproject.toml (UPGRADE=1 takes the newest versions)
	@scripts/locks.sh $(if $(UPGRADE),--upgrade)

train-env: ## Make .venv-train (EXTRAS="kaggle hub azure" for kaggle: sources, keras_hub: backbones, Azure ML)
	@scripts/env.sh train

train: ## Train the CNN and the residual network on DATA="a.zip b.zip", leaving out what also stands in TEST="c.zip"
	@[ -n "$$DATA" ] || { echo 'Say what to train on: make train DATA="a.zip b.zip" TEST="c.zip"' >&2; exit 2; }; \
	python=$$(scripts/env.sh train) || exit; \
	for network in cnn residual; do \
		"$$python" -m parallax train cnn --network $$network --data $$DATA $${TEST:+--exclude $$TEST} || exit; \
	done

mlflow-ui: ## Show the tracked runs on http://127.0.0.1:5000 (ARGS="--port 5001")
	@python=$$(scripts/env.sh train) || exit; data=$${PARALLAX_DATA_DIR:-$(CURDIR)/.parallax}; mkdir -p "$$data/mlflow" && \
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec "$$python" -m mlflow ui --workers 1 \
		--backend-store-uri "sqlite:///$$(cd "$$data" && pwd)/mlflow/mlflow.db" $(ARGS)

gpu-check: ## On a machine with a GPU: check provider, golden vectors and speed
	@python=$$(scripts/env.sh serve-gpu) && exec "$$python" -m scripts.gpu_check $(ARGS)

clean: ## Remove environments and caches; models and .parallax/ stay
	@rm -rf .venv .venv-gpu .venv-train .venv-dev .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
