# The service's images, and those for training and for load tests:
#   docker build --target serve-cpu -t parallax:0.1.0 .
#   docker build --target serve-gpu -t parallax:0.1.0-gpu .
#   docker build --target train     -t parallax:0.1.0-train .
#   docker build --target loadtest  -t parallax:0.1.0-loadtest .
# Behind a mirror, pip's settings come as a secret, which leaves nothing in the image: --secret id=pipconf,src=pip.conf
# With `buildah bud --timestamp 0` one commit and one base make one set of layers: versions come from locks, bytecode is bound to its
# source by hash, every file of ours has the same time.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

# checkov:skip=CKV_DOCKER_7:the tag stands in PYTHON_IMAGE
# What all images stand on: Python, a user without rights, and the folder that it writes to.
FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# SOURCE_DATE_EPOCH: otherwise /etc/shadow would hold the day of the build.
RUN groupadd --gid 10001 parallax && \
    SOURCE_DATE_EPOCH=0 useradd --uid 10001 --gid 10001 --no-create-home --no-log-init --home-dir /data --shell /usr/sbin/nologin parallax && \
    install --directory --owner 10001 --group 10001 /data && \
    rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
WORKDIR /app
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Parallax" \
      org.opencontainers.image.description="Serves image classifiers side by side behind one HTTP API, and measures them." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

# The tree, laid out as the images want it: code, models, and weights that only training reads.
FROM base AS tree
COPY . /tree
RUN mkdir -p /out/app/docs /out/weights && \
    cp -R /tree/LICENSE /tree/NOTICE /tree/parallax.py /tree/loadtest /tree/models /tree/service /tree/training /out/app && \
    cp -R /tree/docs/samples /out/app/docs && \
    mv /out/app/models/store /out/models && \
    mv /out/app/training/weights/*.npz /out/weights && \
    python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /out/app -p /app /out/app && \
    chmod -R u=rwX,go=rX /out && \
    find /out -exec touch --no-dereference --date=@0 {} +

# Environments, made aside, so that pip, its cache and the build backend stay behind.
FROM base AS packages
COPY scripts/image_venv.sh /usr/local/bin/

FROM packages AS packages-serve-cpu
COPY requirements/serve-cpu.txt /tmp/lock.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip image_venv.sh /tmp/lock.txt

FROM packages AS packages-serve-gpu
COPY requirements/serve-gpu.txt /tmp/lock.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip image_venv.sh /tmp/lock.txt

FROM packages AS packages-train
COPY requirements/train.txt /tmp/lock.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip image_venv.sh /tmp/lock.txt

FROM packages AS packages-loadtest
COPY requirements/loadtest.txt /tmp/lock.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip image_venv.sh /tmp/lock.txt

# What the images that serve have in common. Without API keys the service refuses to start here: it is reachable by others.
FROM base AS serve
COPY --from=tree /out/app /app
COPY --from=tree /out/models /models
ENV PARALLAX_HOST=0.0.0.0 \
    PARALLAX_PORT=8000 \
    PARALLAX_MODELS_DIR=/models \
    PARALLAX_DATA_DIR=/data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PARALLAX_PORT']), timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
# In exec form: SIGTERM reaches the service itself, which answers what it accepted and exits with 0.
ENTRYPOINT ["parallax"]
CMD ["serve"]

FROM serve AS serve-cpu
COPY --from=packages-serve-cpu /opt/venv /opt/venv
ENV PARALLAX_DEVICE=cpu
# Last, since it is another for each commit: what stands above is then taken from the cache.
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

# CUDA and cuDNN come as wheels: the node has NVIDIA's driver and container toolkit, and the image no CUDA of its own.
FROM serve AS serve-gpu
COPY --from=packages-serve-gpu /opt/venv /opt/venv
ENV PARALLAX_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

# Sweeps and trainings, as `parallax train ...`.
FROM base AS train
COPY --from=packages-train /opt/venv /opt/venv
COPY --from=tree /out/app /app
COPY --from=tree /out/weights /app/training/weights
COPY --from=tree /out/models /models
ENV PARALLAX_MODELS_DIR=/models \
    PARALLAX_DATA_DIR=/data \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
VOLUME ["/data"]
HEALTHCHECK NONE
ENTRYPOINT ["parallax"]
CMD ["train", "--help"]
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

# Load tests, as `parallax loadtest ...`: Locust, and what it sends.
FROM base AS loadtest
COPY --from=packages-loadtest /opt/venv /opt/venv
COPY --from=tree /out/app /app
USER 10001:10001
VOLUME ["/data"]
WORKDIR /data
HEALTHCHECK NONE
ENTRYPOINT ["parallax"]
CMD ["loadtest", "--help"]
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"
